"""LSTM in a graph, with its states.

torch's exporter freezes the time axis of `nn.LSTM` to that of the example (pytorch/pytorch#191855, up to 2.13 at least), so the
graph's LSTM is written as the operator that it becomes, one per layer, with a state each for hidden and cell values.
"""

import torch
from torch import Tensor, nn

from ..codecs.layers.lstm import SkipLSTM
from .convolution import Pass
from .graph import OPSET


class PlainLSTM(nn.Module):
    """x plus the LSTM of x, [batch, frames, channels]; only as part of a graph, since PyTorch cannot run the operator."""

    def __init__(self, lstm: SkipLSTM, name: str = "lstm") -> None:
        super().__init__()
        self.name, self.hidden, self.layers = name, lstm.hidden_size, lstm.num_layers
        for layer in range(lstm.num_layers):
            parts = {part: getattr(lstm, f"{part}_l{layer}").detach() for part in PARTS}
            self.register_buffer(f"inputs{layer}", onnx_order(parts["weight_ih"])[None].clone())
            self.register_buffer(f"hiddens{layer}", onnx_order(parts["weight_hh"])[None].clone())
            biases = [onnx_order(parts[part]) for part in ("bias_ih", "bias_hh")]
            self.register_buffer(f"biases{layer}", torch.cat(biases)[None])

    def states(self, batch: int) -> dict[str, Tensor]:
        """Return the states before the first frame."""
        names = [f"{self.name}.{kind}.{layer}" for layer in range(self.layers) for kind in ("hidden", "cell")]
        return {name: torch.zeros(1, batch, self.hidden) for name in names}

    def forward(self, x: Tensor, walk: Pass) -> Tensor:
        """Return the output of the next frames."""
        y = x.transpose(0, 1)
        for layer in range(self.layers):
            names = f"{self.name}.hidden.{layer}", f"{self.name}.cell.{layer}"
            weights = (self.get_buffer(f"{part}{layer}") for part in ("inputs", "hiddens", "biases"))
            y, *after = lstm_operator(y, *weights, *(walk.before[name] for name in names))
            walk.after.update(zip(names, after, strict=True))
        return y.transpose(0, 1) + x


PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def onnx_order(weight: Tensor) -> Tensor:
    """Return the gates of a weight or bias in ONNX's order, input, output, forget, cell; torch's is i, f, c, o."""
    i, f, c, o = weight.chunk(4)
    return torch.cat([i, o, f, c])


def lstm_operator(x: Tensor, inputs: Tensor, hiddens: Tensor, biases: Tensor, hidden: Tensor, cell: Tensor) -> list[Tensor]:
    """Return output [frames, batch, H], hidden and cell values [1, batch, H] of ONNX's LSTM on x [frames, batch, channels]."""
    width, (frames, batch, _) = hiddens.shape[2], x.shape
    y, hidden, cell = torch.onnx.ops.symbolic_multi_out(
        "LSTM",
        (x, inputs, hiddens, biases, None, hidden, cell),
        attrs={"hidden_size": width},
        dtypes=(torch.float32,) * 3,
        shapes=((frames, 1, batch, width), (1, batch, width), (1, batch, width)),
        version=OPSET,
    )
    return [y.squeeze(1), hidden, cell]
