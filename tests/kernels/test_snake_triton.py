"""Snake and SnakeBeta on a GPU or under the interpreter, forward and backward."""

from collections.abc import Callable

import pytest
import torch

pytest.importorskip("triton", reason="Triton exists on Linux only")

from toneme.kernels import snake_triton
from toneme.kernels.snake import snake_backward_reference, snake_reference
from toneme.kernels.snake_triton import backward, forward


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 1025), (3, 5, 37)])
def test_equals_the_definition(device, shape):
    generator = torch.Generator().manual_seed(0)
    x, upstream = (torch.randn(shape, generator=generator).to(device) for _ in range(2))
    alpha, beta = (torch.rand(shape[1], generator=generator).to(device) + 0.5 for _ in range(2))
    wide = [t.double() for t in (x, alpha, beta, upstream)]
    assert torch.allclose(forward(x, alpha, beta).double(), snake_reference(*wide[:3]), atol=1e-5)  # 32-bit sine
    for ours, expected in zip(backward(x, alpha, beta, upstream), snake_backward_reference(*wide), strict=True):
        assert torch.allclose(ours.double(), expected, rtol=1e-4, atol=1e-4)  # 32-bit sums over time


def test_large_arguments_keep_their_phase(device):
    x = torch.linspace(-3000, 3000, 4001, device=device)[None, None]
    one = torch.ones(1, device=device)
    expected = x.double() + x.double().sin().square()
    assert torch.allclose(forward(x, one, one).double(), expected, atol=3e-4)  # half a unit in the last place of x


class Launches(list):
    """Stands where a kernel does, and keeps the grids it is given."""

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:  # type: ignore[override]
        return lambda *args, **options: self.append(grid)


def test_an_hour_of_audio_fits_the_grid(monkeypatch):
    launches = Launches()
    monkeypatch.setattr(snake_triton, "forward_kernel", launches)
    x, one = torch.empty(1, 96, 3600 * 44100, device="meta"), torch.empty(96, device="meta")
    forward(x, one, one)
    (grid,) = iter(launches)
    assert grid[0] < 2**31
    assert all(blocks <= 65535 for blocks in grid[1:])  # CUDA's limits
