"""Products of 8 bits: which ones, how near they come, and that they stay only where they are near and faster."""

import shutil

import numpy as np
import pytest

from toneme.export import folder as exporting
from toneme.export import integers
from toneme.export.folder import try_integers
from toneme.export.integers import Trial, compare, judged, store_integers
from toneme.export.manifest import read_manifest
from toneme.export.runtime import StreamingCodec
from toneme.kernels.errors import CheckpointError

onnx = pytest.importorskip("onnx")
WIDTH, WIDE, CODES = 128, 256, 200


@pytest.fixture
def model():
    """A perceptron after a norm, and a search in what it gives."""
    node, rng = onnx.helper.make_node, np.random.default_rng(0)
    shapes = {"gain": (WIDTH,), "shift": (WIDTH,), "widen": (WIDE, WIDTH), "bias": (WIDE,), "narrow": (WIDE, WIDTH)}
    shapes["codes"] = (WIDTH, CODES)
    arrays = {name: (rng.standard_normal(shape) * 0.1).astype(np.float32) for name, shape in shapes.items()}
    arrays |= {name: np.float32(value).reshape(()) for name, value in (("root", 2**0.5), ("one", 1), ("half", 0.5))}
    nodes = [
        node("LayerNormalization", ["x", "gain", "shift"], ["n"]),
        node("Gemm", ["n", "widen", "bias"], ["h"], transB=1),
        node("Div", ["h", "root"], ["d"]), node("Erf", ["d"], ["e"]), node("Add", ["e", "one"], ["a"]),
        node("Mul", ["h", "a"], ["m"]), node("Mul", ["m", "half"], ["g"]),
        node("MatMul", ["g", "narrow"], ["p"]), node("Add", ["x", "p"], ["y"]),
        node("MatMul", ["y", "codes"], ["s"]), node("ArgMax", ["s"], ["code"], axis=1, keepdims=0),
    ]  # fmt: skip
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["rows", WIDTH]) for name in "xy")
    ends = [x], [y, onnx.helper.make_tensor_value_info("code", onnx.TensorProto.INT64, ["rows"])]
    inside = onnx.helper.make_graph(nodes, "g", *ends, [onnx.numpy_helper.from_array(a, name) for name, a in arrays.items()])
    return onnx.helper.make_model(inside, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)


def run(model, x: np.ndarray) -> list[np.ndarray]:
    onnxruntime = pytest.importorskip("onnxruntime")
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})


def test_products_after_a_norm_or_a_gelu_are_taken_and_the_search_is_not(model, tmp_path):
    x = np.random.default_rng(1).standard_normal((50, WIDTH)).astype(np.float32)
    (expected, codes), size = run(model, x), len(model.SerializeToString())
    assert store_integers(model, tmp_path) == 2
    assert not any(tmp_path.iterdir())
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("MatMulInteger") == 2
    assert kinds.count("MatMul") == 1
    assert len(model.SerializeToString()) < 0.6 * size
    found, others = run(model, x)
    added = expected - x
    assert 0 < np.square(found - expected).mean() < 1e-3 * np.square(added).mean()
    assert (others == codes).mean() > 0.9


def test_a_full_disk_is_one_sentence(own_folder, small_files):
    with pytest.raises(CheckpointError, match=r"could not fold the graph into .*folded.onnx .*: where the disk is full"):
        try_integers(own_folder)


def test_the_temporary_folder_may_be_full(own_folder, tmp_path, monkeypatch):
    """It is small in many containers; the folder of the export has to have room anyway."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    try_integers(own_folder)


def test_what_is_far_or_slow_is_not_kept():
    assert judged(0.9, 0.5, "share", [2.0, 1.0]) == Trial(0.9, 2.0, True)
    assert judged(0.4, 0.5, "share", [2.0, 1.0]) == Trial(0.4, 2.0, False, "share under 0.5")
    assert judged(0.9, 0.5, "share", [1.0, 1.0]) == Trial(0.9, 1.0, False, "not faster")


@pytest.fixture
def own_folder(small_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(integers, "LEAST", 256)  # the products of a small codec
    return shutil.copytree(small_folder, tmp_path / "small")


def test_kept_graphs_replace_the_others_and_the_figures_are_written_down(own_folder, monkeypatch):
    trials = {"encoder": Trial(0.9, 0.8, False, "not faster"), "decoder": Trial(30.0, 1.5, True)}
    monkeypatch.setattr(exporting, "compare", lambda floats, other, sides: {side: trials[side] for side in sides})
    before = {name: (own_folder / name).read_bytes() for name in ("encoder.onnx", "decoder.onnx")}
    found = try_integers(own_folder)
    assert (own_folder / "encoder.onnx").read_bytes() == before["encoder.onnx"]
    assert (own_folder / "decoder.onnx").read_bytes() != before["decoder.onnx"]
    written = read_manifest(own_folder).options["int8"]
    assert written["encoder"]["why"] == "not faster"
    assert written["decoder"]["kept"]
    assert found.equal > 0.99
    assert found.snr > integers.LEAST_SNR
    assert not (own_folder / "integers").exists()


def test_both_directions_of_a_codec_are_tried(own_folder, monkeypatch):
    monkeypatch.setattr(exporting, "compare", lambda floats, other, sides: seen.update(compare(floats, other, sides)) or seen)
    seen: dict[str, Trial] = {}
    try_integers(own_folder)
    assert seen["encoder"].near > integers.LEAST_EQUAL
    assert seen["decoder"].near > integers.LEAST_SNR
    assert all(trial.speed > 0 for trial in seen.values())


def test_in_the_decoder_alone_codes_stay_what_they_were(own_folder, monkeypatch):
    monkeypatch.setattr(exporting, "compare", lambda floats, other, sides: {side: Trial(30.0, 1.5, True) for side in sides})
    before = (own_folder / "encoder.onnx").read_bytes()
    assert try_integers(own_folder, ["decoder"]).equal == 1
    assert (own_folder / "encoder.onnx").read_bytes() == before
    assert set(read_manifest(own_folder).options["int8"]) == {"decoder"}


def test_a_codec_without_such_products_is_refused(own_folder, monkeypatch):
    monkeypatch.setattr(integers, "LEAST", 1 << 30)
    with pytest.raises(CheckpointError, match="export without --int8"):
        try_integers(own_folder)
    assert StreamingCodec(own_folder).encoder().flush().shape == (1, 4, 0)
