"""Gradients of several losses in fixed proportions, whatever the losses' scales.

Source: Défossez et al., "High Fidelity Neural Audio Compression", 2022, section 3.4: with g_i the gradient of loss i at the
model's output, the model receives sum_i R * w_i / sum(w) * g_i / <|g_i|>, where <> is a moving average over steps.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from ..errors import RecipeError


class Balancer:
    """Weights that are shares of the gradient, not factors of losses.

    Args:
        weights: loss -> share; those of the losses that are given count.
        total_norm: R, the norm of the sum.
        decay: of the moving average of norms.
        per_item: norms are the mean over the batch of each item's; otherwise that of the whole batch.
        balance: False gives the plain weighted sum.
        epsilon: added to the averages.

    `shares` holds what part of the sum of norms each loss had at the last step.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        total_norm: float = 1.0,
        decay: float = 0.999,
        per_item: bool = True,
        balance: bool = True,
        epsilon: float = 1e-12,
    ) -> None:
        if not weights or min(weights.values()) < 0 or sum(weights.values()) <= 0:
            raise RecipeError(f"a balancer needs weights that are not negative and not all zero; got {dict(weights)}")
        self.weights, self.total_norm, self.decay = dict(weights), total_norm, decay
        self.per_item, self.balance, self.epsilon = per_item, balance, epsilon
        self.sums: dict[str, float] = {}
        self.counts: dict[str, float] = {}
        self.shares: dict[str, float] = {}

    def backward(self, losses: Mapping[str, Tensor], output: Tensor) -> Tensor:
        """Send the balanced gradient into the model and return the loss that it belongs to, a scalar without gradient.

        Args:
            losses: scalars that depend on the model through `output` alone.
            output: what the model gave, [batch, ...].

        Under torch.distributed norms are averaged over processes, each weighted by its batch.

        Raises:
            RecipeError: if a loss has no weight.
        """
        if unknown := set(losses) - set(self.weights):
            raise RecipeError(f"the balancer has no weight for {', '.join(sorted(unknown))}: add it to the recipe's weights")
        gradients = [torch.autograd.grad(loss, output, retain_graph=True)[0] for loss in losses.values()]
        norms = self._average(list(losses), torch.stack([self._norm(g) for g in gradients]), len(output))
        weights = [self.weights[name] for name in losses]
        scales = weights
        if self.balance:
            total = sum(weights)
            scales = [w / total * self.total_norm / (norm + self.epsilon) for w, norm in zip(weights, norms, strict=True)]
        balanced, effective = torch.zeros_like(output), output.new_zeros((), dtype=torch.float32)
        for gradient, scale, loss in zip(gradients, scales, losses.values(), strict=True):
            balanced.add_(gradient, alpha=scale)
            effective += scale * loss.detach()
        output.backward(balanced)
        return effective

    def state_dict(self) -> dict[str, Any]:
        """Return the moving averages, so that a resumed run balances as the whole run would."""
        return {"sums": dict(self.sums), "counts": dict(self.counts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` stood."""
        self.sums, self.counts = dict(state["sums"]), dict(state["counts"])

    def _norm(self, gradient: Tensor) -> Tensor:
        gradient = gradient.detach().float()
        return gradient.flatten(1).norm(dim=1).mean() if self.per_item else gradient.norm()

    def _average(self, names: list[str], norms: Tensor, items: int) -> list[float]:
        """Return the moving average of each norm; it and the state are the same in every process."""
        for name, norm in zip(names, self._of_all(norms, items).tolist(), strict=True):
            self.sums[name] = self.sums.get(name, 0.0) * self.decay + norm
            self.counts[name] = self.counts.get(name, 0.0) * self.decay + 1
        averages = [self.sums[name] / self.counts[name] for name in names]
        total = sum(averages) or 1.0
        self.shares = {name: average / total for name, average in zip(names, averages, strict=True)}
        return averages

    def _of_all(self, norms: Tensor, items: int) -> Tensor:
        """Norms over all processes."""
        if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
            return norms
        shared = torch.cat([norms, norms.new_ones(1)]) * (items if self.per_item else 1)
        dist.all_reduce(shared)
        return shared[:-1] / shared[-1]
