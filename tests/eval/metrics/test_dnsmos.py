"""DNSMOS: a stand-in for its network, which torchmetrics runs beside us; and what is said where there is none."""

import numpy as np
import pytest
import torch

from toneme.codecs.errors import MissingDependencyError
from toneme.eval import weights
from toneme.eval.metrics import dnsmos as ours

from ..signals import noise, tone

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def network(path, shape):
    """Write a network of one input of this shape whose outputs are the mean of squares, times 2, 3 and 4, plus 1."""
    helper = onnx.helper
    axes = helper.make_node("Constant", [], ["axes"], value=helper.make_tensor("axes", onnx.TensorProto.INT64, [1], [1]))
    factors = helper.make_tensor("factors", onnx.TensorProto.FLOAT, [1, 3], [2.0, 3.0, 4.0])
    one = helper.make_tensor("one", onnx.TensorProto.FLOAT, [1], [1.0])
    nodes = [
        axes,
        helper.make_node("Mul", ["input_1", "input_1"], ["square"]),
        helper.make_node("ReduceMean", ["square", "axes"], ["mean"], keepdims=1),
        helper.make_node("Mul", ["mean", "factors"], ["scaled"]),
        helper.make_node("Add", ["scaled", "one"], ["output"]),
    ]
    inputs = [helper.make_tensor_value_info("input_1", onnx.TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, [None, 3])]
    graph = helper.make_graph(nodes, "standin", inputs, outputs, [factors, one])
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)


@pytest.fixture
def found(tmp_path, monkeypatch):
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path))
    weights.find_weights.cache_clear()
    network(tmp_path / "dnsmos" / ours.FILE, [None, None])
    yield tmp_path
    weights.find_weights.cache_clear()


@pytest.mark.parametrize("seconds", [1.0, 9.5, 13.2])
def test_windows_and_polynomial_equal_those_of_torchmetrics(found, monkeypatch, seconds):
    theirs = pytest.importorskip("torchmetrics.functional.audio.dnsmos")

    def session(path, *_):
        return OneColumn() if path.endswith("model_v8.onnx") else ours._session(found / "dnsmos")

    monkeypatch.setattr(theirs, "_load_session", session)
    audio = noise(int(16000 * seconds)) * torch.linspace(0, 1, int(16000 * seconds))
    scores = theirs.deep_noise_suppression_mean_opinion_score(audio, 16000, False, cache_session=False)
    assert ours.dnsmos(audio, audio) == pytest.approx(scores[-1].item(), rel=1e-5)


class OneColumn:
    """In place of DNSMOS's other network, whose score we do not give."""

    def run(self, outputs, inputs):
        return [np.zeros((1, 1))]


def test_missing_weights_are_said(monkeypatch, tmp_path):
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path))
    weights.find_weights.cache_clear()
    with pytest.raises(MissingDependencyError, match="weights not available"):
        ours.dnsmos(tone(200), tone(200))
