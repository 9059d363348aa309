"""The rotation trick: forward is the code, and the backward pass is that of the published formula."""

import torch

from toneme.kernels.rotation import rotate, rotate_reference, rotation_backward_reference


def inputs(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(11, 7, generator=generator, dtype=dtype), torch.randn(11, 7, generator=generator, dtype=dtype)


def test_the_rotated_input_is_the_code():
    x, code = inputs()
    assert torch.allclose(rotate_reference(x, code), code)
    assert torch.equal(rotate(x, code), code)


def test_gradient_equals_that_of_the_definition():
    x, code = inputs()
    upstream = torch.randn(11, 7, dtype=torch.float64)
    x.requires_grad_()
    (expected,) = torch.autograd.grad(rotate_reference(x, code), x, upstream)
    (gradient,) = torch.autograd.grad(rotate(x, code), x, upstream)
    assert torch.allclose(gradient, expected)
    assert torch.allclose(rotation_backward_reference(x.detach(), code, upstream), expected)


def test_gradient_of_the_linear_map_passes_gradcheck():
    x, code = inputs()
    length, target = x.norm(dim=1, keepdim=True), code.norm(dim=1, keepdim=True)
    e, q = x / length, code / target
    w = (e + q) / (e + q).norm(dim=1, keepdim=True)

    class Linear(torch.autograd.Function):
        @staticmethod
        def forward(ctx, y):
            return target / length * (y - 2 * w * (w * y).sum(1, keepdim=True) + 2 * q * (e * y).sum(1, keepdim=True))

        @staticmethod
        def backward(ctx, gradient):
            return rotation_backward_reference(x, code, gradient)

    assert torch.autograd.gradcheck(Linear.apply, (torch.randn(11, 7, dtype=torch.float64, requires_grad=True),))


def test_zero_vectors_give_finite_gradients():
    x = torch.zeros(2, 4, requires_grad=True)
    rotate(x, torch.randn(2, 4)).sum().backward()
    assert x.grad.isfinite().all()


def test_the_operator_is_sound_and_compiles():
    x, code = inputs(torch.float32)
    torch.library.opcheck(torch.ops.toneme.rotation_backward, (x, code, torch.randn(11, 7)))
    upstream = torch.randn(11, 7)
    gradients = []
    for function in (rotate, torch.compile(rotate, backend="aot_eager", fullgraph=True)):
        leaf = x.clone().requires_grad_()
        gradients += torch.autograd.grad(function(leaf, code), leaf, upstream)
    assert torch.equal(*gradients)
