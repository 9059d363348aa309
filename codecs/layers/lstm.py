"""LSTM over [batch, channels, time] with a skip connection and explicit state."""

import torch
from torch import Tensor, nn

from ..errors import ShapeError
from . import rows

FEW_FRAMES = 12  # up to here a loop of single steps beats the sequence kernel, which repacks its weights on every call


class SkipLSTM(nn.LSTM):
    """x plus the LSTM of x; with both directions, x twice on the channels plus the outputs of both.

    State: [2, layers, batch, channels], the hidden and cell values; zeros before the first frame.
    """

    def __init__(self, channels: int, layers: int = 2, bidirectional: bool = False) -> None:
        super().__init__(channels, channels, layers, batch_first=True, bidirectional=bidirectional)

    def initial_state(self, batch: int) -> Tensor:
        """Return the state before the first frame."""
        weight = self.all_weights[0][1]
        return weight.new_zeros(2, self.num_layers, batch, self.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of a whole signal."""
        if not self.bidirectional:
            return self.step(x, self.initial_state(x.shape[0]))[0]
        frames = x.transpose(1, 2)
        y, _ = super().forward(frames.contiguous())
        return (y + torch.cat([frames, frames], dim=-1)).transpose(1, 2)

    def step(self, x: Tensor, state: Tensor, final: bool = False) -> tuple[Tensor, Tensor]:
        """Return the output of the next frames, and the new state."""
        if self.bidirectional:
            raise ShapeError("an LSTM of both directions needs the whole signal: it has no step")
        frames = x.transpose(1, 2).contiguous()
        if rows.usable(x) and frames.shape[1] <= FEW_FRAMES:
            y, state = self._walk(frames, state)
        else:
            y, (hidden, cell) = super().forward(frames, (state[0].contiguous(), state[1].contiguous()))
            state = torch.stack([hidden, cell])
        return (y + frames).transpose(1, 2), state

    def _walk(self, frames: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        state = state.clone()
        for layer, weights in enumerate(self.all_weights):
            outputs = []
            for frame in frames.unbind(1):
                hidden, cell = torch.lstm_cell(frame, (state[0, layer], state[1, layer]), *weights)
                state[0, layer], state[1, layer] = hidden, cell
                outputs.append(hidden)
            frames = torch.stack(outputs, dim=1) if outputs else frames
        return frames, state
