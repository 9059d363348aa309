"""LSTM over [batch, channels, time] with a skip connection and explicit state."""

import torch
from torch import Tensor, nn

from ...kernels import few_rows, lstm, native
from ..errors import ShapeError
from . import rows
from .packs import Packs

FEW_FRAMES = 12  # up to here a loop of single steps beats the sequence kernel, which repacks its weights on every call
GATE_VALUES = 2**21  # that are multiplied at once, so that memory does not grow with the audio


class SkipLSTM(Packs, nn.LSTM):
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
        if not rows.usable(x) or (frames.shape[1] > FEW_FRAMES and not native.runs(frames)):
            y, (hidden, cell) = super().forward(frames, (state[0].contiguous(), state[1].contiguous()))
            return (y + frames).transpose(1, 2), torch.stack([hidden, cell])
        walk = self._run if native.runs(frames) else self._walk
        y, state = walk(frames, state.clone())
        return (y + frames).transpose(1, 2), state

    def _run(self, frames: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the last layer's output of frames [batch, time, channels] by the kernels in C; write over the state."""
        packs = self._kept([w[1] for w in self.all_weights], lambda: [lstm.pack(w[1].detach()) for w in self.all_weights])
        pieces = frames.split(max(1, GATE_VALUES // (4 * self.hidden_size * max(1, len(frames)))), dim=1)
        return torch.cat([self._run_piece(piece, packs, state) for piece in pieces], dim=1), state

    def _run_piece(self, frames: Tensor, packs: list[Tensor], state: Tensor) -> Tensor:
        for (weight, _, *biases), pack, hidden, cell in zip(self.all_weights, packs, *state, strict=True):
            gates = few_rows.linear(frames, weight, biases[0] + biases[1])
            frames, after = lstm.steps(gates, pack, hidden.contiguous(), cell.contiguous())
            cell.copy_(after)
            hidden.copy_(frames[:, -1] if frames.shape[1] else hidden)
        return frames

    def _walk(self, frames: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """The same by PyTorch's single steps."""
        for layer, weights in enumerate(self.all_weights):
            outputs = []
            for frame in frames.unbind(1):
                hidden, cell = torch.lstm_cell(frame, (state[0, layer], state[1, layer]), *weights)
                state[0, layer], state[1, layer] = hidden, cell
                outputs.append(hidden)
            frames = torch.stack(outputs, dim=1) if outputs else frames
        return frames, state
