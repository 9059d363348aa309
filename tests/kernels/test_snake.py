"""Snake and SnakeBeta: the formula, and gradients that pass gradcheck."""

import pytest
import torch

from toneme.kernels import snake as snake_module
from toneme.kernels.errors import ShapeError
from toneme.kernels.snake import snake, snake_backward_reference, snake_beta, snake_reference


def inputs() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 11, generator=generator, dtype=torch.float64)
    return [x, *(torch.rand(3, generator=generator, dtype=torch.float64) + 0.5 for _ in range(2))]


def test_values():
    x = torch.tensor([[[0.0, 1.0]]])
    expected = 1 + torch.tensor(2.0).sin() ** 2 / 2
    assert torch.allclose(snake(x, torch.tensor([2.0])), torch.tensor([[[0.0, expected]]]))


def test_gradients_pass_gradcheck():
    assert torch.autograd.gradcheck(snake_beta, [t.requires_grad_() for t in inputs()])


def test_written_gradients_are_those_of_the_definition():
    tensors = [t.requires_grad_() for t in inputs()]
    upstream = torch.randn(2, 3, 11, dtype=torch.float64)
    expected = torch.autograd.grad(snake_reference(*tensors), tensors, upstream)
    written = snake_backward_reference(*(t.detach() for t in tensors), upstream)
    assert all(map(torch.allclose, written, expected))
    through = torch.autograd.grad(torch.ops.toneme.snake(*tensors), tensors, upstream)
    assert all(map(torch.allclose, through, expected))


def test_the_operator_is_sound():
    torch.library.opcheck(torch.ops.toneme.snake, [t.requires_grad_() for t in inputs()])


def test_one_value_per_channel_is_asked_for():
    with pytest.raises(ShapeError, match="alpha, beta"):
        snake(torch.zeros(1, 3, 4), torch.ones(2))


def test_compile_and_export_see_through():
    x, alpha, beta = (t.float() for t in inputs())

    class Activation(torch.nn.Module):
        def forward(self, x):
            return snake_beta(x, alpha, beta)

    expected = snake_beta(x, alpha, beta)
    assert torch.allclose(torch.compile(Activation(), backend="aot_eager", fullgraph=True)(x), expected)
    assert torch.allclose(torch.export.export(Activation(), (x,)).module()(x), expected)


def test_64_bits_stay_64_bits_on_a_gpu(monkeypatch):
    monkeypatch.setattr(snake_module, "on_gpu", lambda x: True)
    monkeypatch.setattr(snake_module, "_forward", lambda *tensors: pytest.fail("the kernel reckons in 32 bits"))
    x, alpha = torch.randn(2, 3, 50, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    assert torch.equal(snake(x, alpha), snake_reference(x, alpha, alpha))
