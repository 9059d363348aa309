"""LSTM in a graph, with its states.

torch's exporter freezes the time axis of `nn.LSTM` to that of the example (pytorch/pytorch#191855, up to 2.13 at least), so the
graph's LSTM is an operator per layer, with a state each for hidden and cell values.
"""

import torch
from torch import Tensor, nn

from ..codecs.layers.lstm import SkipLSTM
from .convolution import Pass
from .operators import lstm as layer_of


class PlainLSTM(nn.Module):
    """x plus the LSTM of x, [batch, frames, channels]."""

    def __init__(self, lstm: SkipLSTM, name: str = "lstm") -> None:
        super().__init__()
        self.name, self.hidden, self.layers = name, lstm.hidden_size, lstm.num_layers
        for layer, (weights, recurrent, *biases) in enumerate(lstm.all_weights):
            for part, value in (("weights", weights), ("recurrent", recurrent), ("bias", biases[0] + biases[1])):
                self.register_buffer(f"{part}{layer}", value.detach().clone())

    def states(self, batch: int) -> dict[str, Tensor]:
        """Return the states before the first frame."""
        names = [f"{self.name}.{kind}.{layer}" for layer in range(self.layers) for kind in ("hidden", "cell")]
        return {name: torch.zeros(1, batch, self.hidden) for name in names}

    def forward(self, x: Tensor, walk: Pass) -> Tensor:
        """Return the output of the next frames."""
        y = x
        for layer in range(self.layers):
            names = f"{self.name}.hidden.{layer}", f"{self.name}.cell.{layer}"
            weights = (self.get_buffer(f"{part}{layer}") for part in ("weights", "recurrent", "bias"))
            y, *after = layer_of(y, *weights, *(walk.before[name] for name in names))
            walk.after.update(zip(names, after, strict=True))
        return y + x
