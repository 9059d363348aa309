"""Graphs: names, free axes, states in and out, and what the exporter needs."""

import sys

import pytest
import torch
from torch import Tensor

import toneme
from toneme.export.graph import OPSET, Network, Port, build, state_axes, state_list
from toneme.export.manifest import State


class Sums(Network):
    """Running sums of blocks of four, and how many blocks there were."""

    takes = (Port("audio", ("batch", 1, "4*frames")),)
    gives = (Port("sums", ("batch", "frames")),)

    def states(self, batch: int) -> dict[str, Tensor]:
        return {"total": torch.zeros(batch), "count": torch.zeros(1, batch, dtype=torch.int64)}

    def run(self, inputs, states):
        blocks = inputs[0].reshape(inputs[0].shape[0], -1, 4).sum(2).cumsum(1) + states["total"][:, None]
        return (blocks,), {"count": states["count"] + blocks.shape[1], "total": blocks[:, -1]}


@pytest.fixture(scope="module")
def model():
    return build(Sums().eval(), {"batch": 2, "frames": 3})


def test_names_and_axes_are_as_declared(model):
    def axes(values):
        return {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}

    assert axes(model.graph.input) == {
        "audio": ["batch", 1, "4*frames"], "state.total": ["batch"], "state.count": [1, "batch"]
    }  # fmt: skip
    assert axes(model.graph.output) == {
        "sums": ["batch", "frames"], "next.total": ["batch"], "next.count": [1, "batch"]
    }  # fmt: skip
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [OPSET]


def test_no_notes_of_the_exporter_are_left(model):
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    assert b"graph.py" not in model.SerializeToString()


def test_states_go_in_and_come_out_at_other_sizes_than_the_examples(model):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for batch, frames in ((1, 1), (3, 7)):
        audio = torch.randn(batch, 1, 4 * frames).numpy()
        states = {"state.total": torch.ones(batch).numpy(), "state.count": torch.full((1, batch), 5).numpy()}
        sums, total, count = session.run(["sums", "next.total", "next.count"], {"audio": audio, **states})
        assert sums[:, -1] == pytest.approx(total)
        assert total == pytest.approx(audio.sum((1, 2)) + 1, abs=1e-5)
        assert count.tolist() == [[5 + frames] * batch]


def test_the_axis_of_the_batch_is_found():
    assert state_axes(Sums()) == {"total": ("batch",), "count": (1, "batch")}
    assert state_list(Sums()) == (State("total", ("batch",)), State("count", (1, "batch"), "int64"))
    assert State("x", (2, "batch", 5)).sized(3) == (2, 3, 5)


class Last(Sums):
    """The sums before, too, in a ring of three."""

    def states(self, batch):
        return super().states(batch) | {"position": torch.zeros(batch, dtype=torch.int64), "lately": torch.zeros(batch, 3)}

    def rings(self):
        return {"lately": (1, "frames")}

    def run(self, inputs, states):
        (blocks,), after = super().run(inputs, states)
        seen = blocks + states["lately"].sum(1, keepdim=True)
        return (seen,), {**after, "position": states["position"] + blocks.shape[1], "lately": blocks}


def test_of_rings_the_new_rows_come_out():
    assert state_list(Last())[3] == State("lately", ("batch", 3), ring=1)
    axes = {v.name: v.type.tensor_type.shape.dim for v in build(Last().eval(), {"batch": 2, "frames": 4}).graph.output}
    assert [dim.dim_param for dim in axes["next.lately"]] == ["batch", "frames"]


def test_without_the_exporters_packages_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(toneme.MissingDependencyError, match=r'pip install "\.\[export\]"'):
        build(Sums(), {"batch": 2, "frames": 3})


class Fragile(Network):
    """What an optimizer may not touch, and an activation that it should know again."""

    takes = (Port("x", ("batch", "frames")),)
    gives = (Port("y", ("batch", "frames")), Port("z", ("batch", "frames")))

    def run(self, inputs, states):
        return ((inputs[0].square() + 1e-8).log(), torch.nn.functional.gelu(inputs[0])), states


def test_small_numbers_that_keep_silence_finite_stay():
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(build(Fragile().eval(), {"batch": 2, "frames": 3}).SerializeToString())
    x = torch.cat([torch.zeros(1, 5), torch.randn(1, 5)])
    y, z = session.run(None, {"x": x.numpy()})
    torch.testing.assert_close(torch.from_numpy(y), (x.square() + 1e-8).log(), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.from_numpy(z), torch.nn.functional.gelu(x), atol=1e-6, rtol=0)
