"""The LSTM of a graph is the codec's at other lengths than the example, with its states."""

import pytest
import torch

from toneme.codecs.layers.lstm import SkipLSTM
from toneme.export.convolution import Pass
from toneme.export.graph import Network, Port, build
from toneme.export.recurrent import PlainLSTM


class Recurrent(Network):
    """An LSTM alone."""

    takes = (Port("x", ("batch", "frames", 6)),)
    gives = (Port("y", ("batch", "frames", 6)),)

    def __init__(self, lstm: SkipLSTM) -> None:
        super().__init__()
        self.lstm = PlainLSTM(lstm)

    def states(self, batch):
        return self.lstm.states(batch)

    def run(self, inputs, states):
        walk = Pass(states, torch.ones(1, 1, 1, dtype=torch.bool))
        return (self.lstm(inputs[0], walk),), walk.after


def test_the_time_axis_is_free_and_states_go_on():
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    lstm = SkipLSTM(6, 2)
    session = onnxruntime.InferenceSession(build(Recurrent(lstm).eval(), {"batch": 2, "frames": 3}).SerializeToString())
    x = torch.randn(3, 19, 6)
    names = [value.name for value in session.get_outputs()]
    states = {f"state.{name}": value.numpy() for name, value in lstm_states(lstm, 3).items()}
    pieces = []
    for piece in x.split([1, 11, 7], dim=1):
        y, *after = session.run(names, {"x": piece.numpy(), **states})
        states = {f"state.{name.removeprefix('next.')}": value for name, value in zip(names[1:], after, strict=True)}
        pieces.append(torch.from_numpy(y))
    with torch.no_grad():
        torch.testing.assert_close(torch.cat(pieces, dim=1), lstm(x.transpose(1, 2)).transpose(1, 2), atol=1e-6, rtol=0)


def lstm_states(lstm: SkipLSTM, batch: int) -> dict[str, torch.Tensor]:
    return PlainLSTM(lstm).states(batch)
