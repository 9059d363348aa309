"""Weights and waveforms that official code and ours are given alike: parameter number i of a model gets values made from i."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

_SPEC = importlib.util.spec_from_file_location("goldens_fill", Path(__file__).parents[1] / "fill.py")
_FILL = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_FILL)


def values(name: str, shape: tuple[int, ...]) -> Tensor:
    """Return bell-shaped numbers of unit variance that are the same on every machine."""
    return torch.from_numpy(_FILL.standard(name, shape, "training").astype(np.float32))


@torch.no_grad()
def set_weights(model: nn.Module) -> nn.Module:
    """Fill a model in the order of its parameters: gains of weight norm about 1, biases about 0, kernels by their fan-in."""
    for index, parameter in enumerate(model.parameters()):
        drawn = values(str(index), tuple(parameter.shape))
        if parameter.ndim == 1:
            drawn = 0.1 * drawn
        elif parameter[0].numel() == 1:
            drawn = 1.4 * (1 + 0.1 * drawn)
        else:
            drawn = 1.4 * drawn / math.sqrt(parameter[0].numel())
        parameter.copy_(drawn)
    kernels = [p for n, p in model.named_parameters() if n.endswith(("weight_orig", "parametrizations.weight.original"))]
    left = [b for n, b in model.named_buffers() if n.endswith(("weight_u", "parametrizations.weight.0._u"))]
    right = [b for n, b in model.named_buffers() if n.endswith(("weight_v", "parametrizations.weight.0._v"))]
    for kernel, u, v in zip(kernels, left, right, strict=True):  # spectral norm's singular vectors
        matrix = kernel.flatten(1).double()
        high = torch.ones(len(matrix), dtype=torch.float64)
        for _ in range(10):
            high = nn.functional.normalize(matrix @ (low := nn.functional.normalize(matrix.T @ high, dim=0)), dim=0)
        u.copy_(high), v.copy_(low)
    return model.eval()  # spectral norm must not iterate: its two ways to be written take turns in another order


def waveforms(samples: int, batch: int = 1) -> tuple[Tensor, Tensor]:
    """Return (target, estimate) [batch, 1, samples]: falling noise with tones, and the same with an error."""
    time = torch.arange(samples, dtype=torch.float64)
    tones = sum(0.1 * torch.sin(0.031 * k * time + k) for k in range(1, 6))
    target = (tones[None, None] + 0.1 * values("target", (batch, 1, samples))).float()
    return target, 0.9 * target + 0.05 * values("error", (batch, 1, samples))


def fingerprint(tensor: Tensor) -> np.ndarray:
    """Return [root mean square, projection on a fixed wave, projection on another], which few other tensors share."""
    flat = tensor.detach().double().flatten()
    wave = torch.arange(len(flat), dtype=torch.float64)
    scale = math.sqrt(len(flat))
    return np.array([flat.norm() / scale, flat @ torch.cos(0.37 * wave) / scale, flat @ torch.sin(1.43 * wave) / scale])
