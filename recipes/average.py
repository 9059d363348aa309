"""The moving average of a model's weights, which is the model that is saved."""

import torch
from torch import Tensor, nn


class Average:
    """Weights that follow the model's slowly; buffers, such as codebooks, are the model's own at the moment of asking.

    Args:
        model: that is followed.
        decay: of the average per step; lower at the beginning, when the first weights are worth nothing.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.decay = model, decay
        self.weights = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Move towards the model after its step number `step`."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        now = dict(self.model.named_parameters())
        torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
            list(self.weights.values()), [now[name] for name in self.weights], share
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Return the model's state with averaged weights."""
        return {**self.model.state_dict(), **self.weights}
