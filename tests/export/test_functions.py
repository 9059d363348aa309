"""Operators of our own give what their functions give, at any size, and graphs have them where weights are in 16 bits."""

from functools import partial

import numpy as np
import pytest
import torch

from toneme.codecs.layers.toom_cook import pack
from toneme.export import operators  # noqa: F401 - which defines them for PyTorch
from toneme.export.elu_functions import PACKED
from toneme.export.functions import DOMAIN, HALF, MATRICES, PANELS, SIGNATURES, add_functions
from toneme.export.packing import panels
from toneme.kernels import rvq_encode_reference
from toneme.kernels.library import built, library
from toneme.kernels.rescan import error_factors

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
needs_kernels = pytest.mark.skipif(library() is None, reason="no kernels in C here")
NAMES = [
    "AffineHalf",
    "ProductHalf",
    "AffinePanels",
    "ProductPanels",
    "ConvNeXt",
    "ConvNeXtHalf",
    "Elu",
    "Lstm",
    "Nearest",
    "NearestHalf",
    "Snake",
    "Bent",
    "Delayed",
    "ToomCookPanels",
    "Spans",
    "Between",
    "EluBlockPanels",
    "EluSkipPanels",
    "TwoTapsPanels",
    "PairedTapsPanels",
]
FLOATING = [name for name in NAMES if name != "Spans"]
WIDE = {"codes": 7, "ends": 7, "begin": 7, "length": 7, "stop": 7, "at_end": 9}  # types of outputs that are no floats


def values(rng: np.random.Generator, *shape: int, half: bool = False) -> np.ndarray:
    drawn = rng.standard_normal(shape) / max(1, shape[-1]) ** 0.5
    return drawn.astype(np.float16 if half else np.float32)


def affine(rng, frames, batch, width, half, turned=0):
    matrix = values(rng, 2 * width + 1, width, half=half)
    constants = {"matrix": matrix if turned else np.ascontiguousarray(matrix.T), "bias": values(rng, 2 * width + 1)}
    return {"x": values(rng, batch * frames, width)}, constants, {"turned": turned}


def product(rng, frames, batch, width, half):
    return {"x": values(rng, batch, frames, width)}, {"matrix": values(rng, width, width + 3, half=half)}, {}


def toom_cook(rng, frames, batch, width, half, dilation=3):
    """Of 13 matrices as `toom_cook.pack` gives them, whose products are of the same size."""
    weight = torch.from_numpy(values(rng, width + 5, width, 7)) / width**0.5
    constants = {"matrices": torch.cat(pack(weight)).numpy(), "bias": values(rng, width + 5)}
    return {"x": values(rng, 1, (4 * frames + 7) * dilation, width)}, constants, {"dilation": dilation}


def spans(rng, frames, batch, width, half):
    numbers = {"rows": frames * width, "batch": batch, "whole": frames * width + 40}
    settings = {"size": 16, "step": 4, "stride": 2, "rate": 3, "shift": 5, "extra": 9, "first": 2, "last": 1}
    return {name: np.array([number]) for name, number in numbers.items()}, {}, settings


def between(rng, frames, batch, width, half):
    inputs = {"x": values(rng, frames, 2 * width), "begin": np.array(3 * frames), "stop": np.array([4 * frames])}
    return inputs, {}, {"first": 3 * frames + 1, "width": width}


def elu_block(rng, frames, batch, width, half, skips=False, active=1):
    hidden = width // 2 + 1
    constants = {
        "taps": values(rng, 3 * width, hidden), "taps_bias": values(rng, hidden),
        "matrix": values(rng, hidden if skips else hidden + width, width), "bias": values(rng, width),
    }  # fmt: skip
    inputs = {"x": 2 * values(rng, batch, frames, width), "before": values(rng, batch, 2, width)}
    return inputs, constants, {"active": active}


def elu_panels(rng, frames, batch, width, half, skips=False, active=1):
    inputs, constants, settings = elu_block(rng, frames, batch, width, half, skips, active)
    return inputs, packed(constants), settings


def two_taps(rng, frames, batch, width, half, stride=5, cut=2, paired=False):
    pieces = {"x": frames * stride + cut, "before": stride, "tail": cut}
    inputs = {name: values(rng, batch, count, width) for name, count in pieces.items()}
    constants = taps_of(values(rng, 2 * stride * width, width + 3), values(rng, width + 3), paired)
    return inputs, constants, {"stride": stride, "cut": cut}


def taps_of(matrix, bias, paired, in_panels=False):
    """Constants of two taps, as the function or as the kernel takes them."""
    both = matrix.reshape(2, -1, matrix.shape[1]).sum(0)
    if in_panels:
        return {"panels": panels(matrix), "bias": bias, **({"both_panels": panels(both)} if paired else {})}
    return {"matrix": matrix, "bias": bias, **({"both": both} if paired else {})}


def two_taps_panels(*given, paired=False):
    inputs, constants, settings = two_taps(*given, paired=paired)
    return inputs, taps_of(constants["matrix"], constants["bias"], paired, in_panels=True), settings


def packed(constants):
    """Constants of a residual block as its kernel takes them."""
    return {f"{k}_panels" if k in PACKED else k: panels(v) if k in PACKED else v for k, v in constants.items()}


def in_panels(make):
    def maker(rng, frames, batch, width, half):
        inputs, constants, settings = make(rng, frames, batch, width, False)
        matrix = constants.pop("matrix" if "matrix" in constants else "matrices")
        kept = {name: value for name, value in settings.items() if name != "turned"}
        return inputs, {"panels": panels(matrix), **constants}, {**kept, "columns": matrix.shape[-1]}

    return maker


def convnext(rng, frames, batch, width, half):
    taps, hidden = 4, 3 * width
    rows = {name: values(rng, width) for name in ("bias", "gain", "shift", "narrow_bias", "scale")}
    constants = {
        "filters": values(rng, width, 1, taps, 1), "wide": values(rng, hidden, width, half=half),
        "wide_bias": values(rng, hidden), "narrow": values(rng, width, hidden, half=half), **rows,
    }  # fmt: skip
    inputs = {"x": 3 * values(rng, batch, frames, 1, width), "state": values(rng, batch, taps - 1, 1, width)}
    return inputs, constants, {"channels": width, "epsilon": 1e-6}


def elu(rng, frames, batch, width, half):
    return {"x": 4 * values(rng, batch, frames, width)}, {}, {}


def lstm(rng, frames, batch, width, half):
    hidden = width + 1
    constants = {
        "weights": values(rng, 4 * hidden, width), "recurrent": values(rng, 4 * hidden, hidden), "bias": values(rng, 4 * hidden)
    }  # fmt: skip
    states = {name: values(rng, 1, batch, hidden) for name in ("hidden", "cell")}
    return {"x": values(rng, batch, frames, width), **states}, constants, {"width": hidden}


def nearest(rng, frames, batch, width, half):
    codebook = values(rng, 40, width, half=half)
    bias = -np.square(codebook.astype(np.float64)).sum(1).astype(np.float32) / 2
    bounds = error_factors(*(torch.from_numpy(each.astype(np.float32))[None] for each in (codebook, -bias)))
    settings = dict(zip(("slope", "offset"), (bound.item() for bound in bounds), strict=True))
    return {"rows": values(rng, batch * frames, width)}, {"codebook": codebook, "bias": bias}, settings


def snake(rng, frames, batch, width, half):
    return elu(rng, frames, batch, width, half)[0], {"scale": values(rng, width)}, {}


def delayed(rng, frames, batch, width, half):
    rows = {name: values(rng, batch, frames, width) for name in ("x", "late")}
    return {**rows, "first": values(rng, batch, 1, width)}, {}, {}


MAKERS = {
    "Delayed": delayed,
    "Nearest": nearest,
    "Snake": snake,
    "Bent": elu,
    "Affine": affine,
    "Product": product,
    "ToomCookPanels": in_panels(toom_cook),
    "EluBlockPanels": elu_panels,
    "EluSkipPanels": partial(elu_panels, skips=True),
    "TwoTapsPanels": two_taps_panels,
    "PairedTapsPanels": partial(two_taps_panels, paired=True),
    "Spans": spans,
    "Between": between,
    "AffinePanels": in_panels(affine),
    "ProductPanels": in_panels(product),
    "ConvNeXt": convnext,
    "Elu": elu,
    "Lstm": lstm,
}


def made(name: str, inputs, constants, settings):
    """A model of one operator, whose outputs are its own."""
    helper, plain = onnx.helper, name.removesuffix(HALF)
    taken, given, _ = SIGNATURES[plain]
    node = helper.make_node(name, taken, given, domain=DOMAIN, **settings)
    ranks = {
        "Affine": [inputs["x"].ndim] if "x" in inputs else [],
        "Product": [3],
        "ConvNeXt": [4, 4],
        "Elu": [3],
        "Lstm": [3, 3, 3],
        "Nearest": [1, 2],
        "Snake": [3],
        "Bent": [3],
        "Delayed": [3],
        "ToomCook": [2],
        "EluBlock": [3, 3],
        "EluSkip": [3, 3],
        "TwoTaps": [3],
        "PairedTaps": [3],
        "Spans": [2, 1, 1, 1, 1],
        "Between": [2],
    }[plain.removesuffix(PANELS)]
    ends = [
        [helper.make_tensor_value_info(each, kind, [None] * rank) for each, kind, rank in ports]
        for ports in (
            [(each, 1 if value.dtype == np.float32 else 7, value.ndim) for each, value in inputs.items()],
            [(each, WIDE.get(each, 1), rank) for each, rank in zip(given, ranks, strict=True)],
        )
    ]
    tensors = [onnx.numpy_helper.from_array(value, each) for each, value in constants.items()]
    graph = helper.make_graph([node], "g", *ends, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    add_functions(model)
    onnx.checker.check_model(model)
    return model


def session(model, native: bool, threads: int = 1):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 4
    if native:
        options.register_custom_ops_library(str(built()))
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@needs_kernels
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [5, 32, 45])
def test_the_kernel_gives_what_the_function_gives(name, width):
    """Both are in 32 bits and add in other orders: within 2e-6 of values about 1."""
    rng, make = np.random.default_rng(width), MAKERS[name.removesuffix(HALF)]
    model = made(name, *make(rng, 3, 2, width, name.endswith(HALF)))
    ours, plain = session(model, True), session(model, False)
    for frames, batch in ((1, 1), (2, 3), (7, 1), (50, 2), (301, 1)):
        inputs, _, _ = make(rng, frames, batch, width, False)
        found, expected = (each.run(None, inputs) for each in (ours, plain))
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, atol=2e-6, rtol=2e-6)
            assert a.dtype == b.dtype


@needs_kernels
def test_codes_are_those_of_64_bits():
    """Of rows that lie between two codes to within a rounding error, where sums in 32 bits choose either."""
    rng = np.random.default_rng(8)
    _, constants, settings = nearest(rng, 1, 1, 128, False)
    book = constants["codebook"]
    between = (book[rng.integers(0, 40, 2000)] + book[rng.integers(0, 40, 2000)]) / 2
    model = made("Nearest", {"rows": between}, constants, settings)
    ours, plain = (session(model, native).run(None, {"rows": between})[0] for native in (True, False))
    expected = rvq_encode_reference(torch.from_numpy(between), torch.from_numpy(book)[None])[:, 0].numpy()
    np.testing.assert_array_equal(ours, expected)
    assert (plain != expected).any()


@needs_kernels
def test_turned_matrices():
    rng = np.random.default_rng(0)
    model = made("AffineHalf", *affine(rng, 4, 1, 37, True, turned=1))
    inputs, _, _ = affine(rng, 9, 1, 37, True)
    np.testing.assert_allclose(*(session(model, native).run(None, inputs)[0] for native in (True, False)), atol=2e-6)


@needs_kernels
@pytest.mark.parametrize("name", ["AffineHalf", "AffinePanels"])
def test_rows_of_rows(name):
    """Products with a bias take rows of any number of axes."""
    inputs, *rest = MAKERS[name.removesuffix(HALF)](np.random.default_rng(0), 12, 1, 37, name.endswith(HALF))
    flat = session(made(name, inputs, *rest), True).run(None, inputs)[0]
    shaped = {"x": inputs["x"].reshape(2, 3, 2, 37)}
    for native in (True, False):
        found = session(made(name, shaped, *rest), native).run(None, shaped)[0]
        np.testing.assert_allclose(found, flat.reshape(2, 3, 2, -1), atol=2e-6)


@needs_kernels
@pytest.mark.parametrize("width", [40, 1500])
def test_a_bias_of_every_row_is_one_product_added_to_another(width):
    """Rows of more numbers than are taken at once, too."""
    inputs, constants, settings = in_panels(affine)(np.random.default_rng(1), 9, 1, width, False)
    constants["bias"] = values(np.random.default_rng(2), 9, settings["columns"])
    model = made("AffinePanels", inputs, constants, settings)
    np.testing.assert_allclose(*(session(model, native).run(None, inputs)[0] for native in (True, False)), atol=2e-6)


@needs_kernels
@pytest.mark.parametrize("skips", [True, False])
@pytest.mark.parametrize("active", [0, 1])
@pytest.mark.parametrize("frames", [1, 2, 3, 500])
def test_residual_blocks_are_those_of_pytorch(skips, active, frames):
    rng, name = np.random.default_rng(frames), "EluSkip" if skips else "EluBlock"
    inputs, constants, settings = elu_block(rng, frames, 2, 40, False, skips, active)
    expected = torch.ops.toneme.elu_block(*map(torch.from_numpy, (*inputs.values(), *constants.values())), bool(active))
    for model, native in (
        (made(name, inputs, constants, settings), False),
        (made(f"{name}Panels", inputs, packed(constants), settings), False),
        (made(f"{name}Panels", inputs, packed(constants), settings), True),
    ):
        for a, b in zip(session(model, native).run(None, inputs), expected, strict=True):
            np.testing.assert_allclose(a, b.numpy(), atol=3e-6)


@needs_kernels
@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("before", [0, 1, 3, 7])
@pytest.mark.parametrize(("cut", "tail"), [(0, 0), (2, 0), (0, 5), (6, 7)])
@pytest.mark.parametrize("samples", [6, 11, 400])
@pytest.mark.parametrize("name", ["TwoTaps", "PairedTaps"])
def test_two_taps_over_pieces_of_any_length(stride, before, cut, tail, samples, name):
    """Windows lie in one of them, or reach into the next, or into the one after that."""
    rng = np.random.default_rng(samples)
    lengths = {"x": samples, "before": before, "tail": tail}
    inputs = {name: values(rng, 2, count, 8) for name, count in lengths.items()}
    constants = taps_of(values(rng, 16 * stride, 19), values(rng, 19), name == "PairedTaps")
    settings, own = {"stride": stride, "cut": cut}, inputs["x"][:, : samples - cut]
    joined = torch.from_numpy(np.concatenate([inputs["before"], own, inputs["tail"]], axis=1)).transpose(1, 2)
    filters = torch.from_numpy(constants["matrix"]).reshape(2 * stride, 8, 19).permute(2, 1, 0)
    count = max(0, joined.shape[2] // stride - 1)
    padded, bias = torch.nn.functional.pad(joined, (0, 3 * stride)), torch.from_numpy(constants["bias"])
    expected = torch.nn.functional.conv1d(padded, filters, bias, stride)[..., :count].transpose(1, 2)
    in_panels = taps_of(constants["matrix"], constants["bias"], name == "PairedTaps", in_panels=True)
    for model, native in (
        (made(name, inputs, constants, settings), False),
        (made(f"{name}Panels", inputs, in_panels, settings), False),
        (made(f"{name}Panels", inputs, in_panels, settings), True),
    ):
        found = session(model, native).run(None, inputs)[0]
        np.testing.assert_allclose(found, expected.numpy(), atol=3e-6)


@needs_kernels
@pytest.mark.parametrize("dilation", [1, 3, 9])
@pytest.mark.parametrize(("inputs", "outputs", "tiles"), [(5, 19, 1), (64, 64, 30), (96, 40, 3)])
def test_seven_taps_are_those_of_pytorch(inputs, outputs, tiles, dilation):
    """Rounding grows to some 5e-7 of an output's size (`toom_cook`)."""
    rng = np.random.default_rng(dilation)
    weight = torch.from_numpy(values(rng, outputs, inputs, 7)) / inputs**0.5
    bias, x = values(rng, outputs), values(rng, 1, (4 * tiles + 7) * dilation, inputs) * inputs**0.5
    constants = {"panels": panels(torch.cat(pack(weight)).numpy()), "bias": bias}
    model = made("ToomCookPanels", {"x": x}, constants, {"dilation": dilation, "columns": outputs})
    rows = torch.from_numpy(x).double().transpose(1, 2)
    expected = torch.nn.functional.conv1d(rows, weight.double(), torch.from_numpy(bias).double(), dilation=dilation)[0].T
    for native in (True, False):
        found = session(model, native).run(None, {"x": x})[0]
        assert len(found) == 4 * tiles * dilation
        np.testing.assert_allclose(found, expected[: len(found)].numpy(), atol=3e-6 * expected.abs().max().item())


@needs_kernels
@pytest.mark.parametrize("rows", [1, 3, 15, 16, 17, 1000])
@pytest.mark.parametrize("batch", [1, 3])
def test_blocks_begin_and_end_where_the_function_says(rows, batch):
    names = "size", "step", "stride", "rate", "shift", "extra", "first", "last"
    for numbers in ((16, 4, 1, 1, 3, 7, 0, 0), (16, 2, 5, 3, -2, 9, 4, 2)):
        settings = dict(zip(names, numbers, strict=True))
        inputs = {"rows": np.array([rows]), "batch": np.array([batch]), "whole": np.array([rows * settings["stride"] + 11])}
        model = made("Spans", inputs, {}, settings)
        for a, b in zip(*(session(model, native).run(None, inputs) for native in (True, False)), strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype


@needs_kernels
def test_blocks_of_nothing_are_refused():
    inputs, *rest = spans(np.random.default_rng(0), 1, 1, 8, False)
    with pytest.raises(Exception, match="blocks of no rows"):
        session(made("Spans", inputs, *rest), True).run(None, {**inputs, "rows": np.array([0])})


@needs_kernels
@pytest.mark.parametrize(("begin", "stop"), [(0, 100), (10, 12), (90, 95), (-50, 3), (4, 0)])
def test_zeros_beyond_the_ends(begin, stop):
    x = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    inputs = {"x": x, "begin": np.array(begin), "stop": np.array([stop])}
    model = made("Between", inputs, {}, {"first": 3, "width": 2})
    wanted = (begin + np.arange(12) >= 3) & (begin + np.arange(12) < stop)
    for native in (True, False):
        found = session(model, native).run(None, inputs)[0]
        np.testing.assert_array_equal(found.reshape(12, 2), x.reshape(12, 2) * wanted[:, None])


@needs_kernels
@pytest.mark.parametrize("shape", [(8,), (2, 17), (1, 17), (3, 2, 17)])
def test_other_biases_are_refused(shape):
    inputs, constants, settings = in_panels(affine)(np.random.default_rng(1), 3, 1, 8, False)
    constants["bias"] = np.zeros(shape, np.float32)
    with pytest.raises(Exception, match="a bias that does not fit"):
        session(made("AffinePanels", inputs, constants, settings), True).run(None, inputs)


@needs_kernels
def test_other_panels_are_refused():
    inputs, constants, settings = in_panels(affine)(np.random.default_rng(1), 3, 1, 8, False)
    with pytest.raises(Exception, match="panels that are not those"):
        session(made("AffinePanels", inputs, constants, {"columns": settings["columns"] + 16}), True).run(None, inputs)


@needs_kernels
@pytest.mark.parametrize("name", NAMES)
def test_threads_and_neighbours_change_nothing(name):
    """Numbers are the same bit by bit in any number of threads, and a row's whatever is computed beside it."""
    rng, make = np.random.default_rng(1), MAKERS[name.removesuffix(HALF)]
    inputs, *rest = make(rng, 203, 3, 80, name.endswith(HALF))
    model = made(name, inputs, *rest)
    one, two = (session(model, True, threads).run(None, inputs) for threads in (1, 2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    if "x" in inputs and inputs["x"].ndim > 2 and name != "ToomCookPanels":  # which takes one item
        axis = {"hidden": 1, "cell": 1}
        single = {each: np.take(value, [1], axis.get(each, 0)) for each, value in inputs.items()}
        found = session(model, True).run(None, single)[0][0]
        np.testing.assert_allclose(found, one[0][1], rtol=0, atol=1e-6 if name == "Lstm" else 0)  # whose rows share their sums


@needs_kernels
@pytest.mark.parametrize("name", ["ConvNeXtHalf", "Lstm", "EluBlockPanels", "EluSkipPanels"])
def test_pieces_are_the_whole(name):
    rng, make = np.random.default_rng(2), MAKERS[name.removesuffix(HALF)]
    inputs, *rest = make(rng, 60, 2, 20, name.endswith(HALF))
    run = session(made(name, inputs, *rest), True).run
    (whole, *last), states, pieces = run(None, inputs), {k: v for k, v in inputs.items() if k != "x"}, []
    for piece in np.split(inputs["x"], [1, 2, 9, 57], axis=1):
        y, *after = run(None, {"x": piece, **states})
        states = dict(zip(states, after, strict=True))
        pieces.append(y)
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole)
    for a, b in zip(states.values(), last, strict=True):
        np.testing.assert_array_equal(a, b)


@needs_kernels
@pytest.mark.parametrize("name", FLOATING)
def test_nothing_gives_nothing(name):
    rng, make = np.random.default_rng(7), MAKERS[name.removesuffix(HALF)]
    inputs, *rest = make(rng, 0, 1, 8, name.endswith(HALF))
    y, *after = session(made(name, inputs, *rest), True).run(None, inputs)
    assert not y.size
    for a, b in zip(after, [*list(inputs.values())[1:], inputs.get("rows")], strict=False):
        np.testing.assert_array_equal(a, b)


@needs_kernels
@pytest.mark.parametrize("name", FLOATING)
def test_what_is_no_number_stays_so(name):
    rng = np.random.default_rng(3)
    inputs, *rest = MAKERS[name.removesuffix(HALF)](rng, 8, 1, 16, name.endswith(HALF))
    model = made(name, inputs, *rest)
    next(iter(inputs.values())).reshape(-1, 16)[3, 2] = np.nan
    which = -1 if name.startswith("Nearest") else 0  # codes are what they are
    ours, plain = (np.isnan(session(model, native).run(None, inputs)[which]) for native in (True, False))
    if name == "Lstm":  # ONNX Runtime's own gives numbers again; PyTorch's does not
        assert ours[0, 3:].all()
        assert not ours[0, :3].any()
    else:
        assert ours.any()
        np.testing.assert_array_equal(ours, plain)


@needs_kernels
@pytest.mark.parametrize("name", FLOATING)
@pytest.mark.parametrize("extreme", [1e-30, 30.0, 1e4])
def test_faint_and_loud(name, extreme):
    rng = np.random.default_rng(4)
    inputs, *rest = MAKERS[name.removesuffix(HALF)](rng, 8, 1, 24, name.endswith(HALF))
    model = made(name, inputs, *rest)
    first = next(iter(inputs.values()))
    first *= np.float32(extreme)
    ours, plain = (session(model, native).run(None, inputs)[-1 if "rows" in inputs else 0] for native in (True, False))
    np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=2e-6 * max(1.0, np.abs(plain).max()))


@needs_kernels
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("ProductHalf", (1, 2, 7)),
        ("ProductPanels", (1, 2, 7)),
        ("EluBlockPanels", (1, 2, 7)),
        ("EluSkipPanels", (2, 2, 8)),
        ("TwoTapsPanels", (1, 20, 7)),
        ("PairedTapsPanels", (2, 20, 8)),
        ("TwoTapsPanels", (1, 1, 8)),
        ("ToomCookPanels", (1, 33, 7)),
        ("ToomCookPanels", (1, 34, 8)),
        ("ToomCookPanels", (2, 33, 8)),
        ("ConvNeXt", (1, 2, 1, 7)),
        ("Lstm", (1, 2, 7)),
        ("Nearest", (2, 7)),
        ("Snake", (1, 2, 7)),
        ("Delayed", (1, 2, 7)),
    ],
)
def test_other_widths_are_refused(name, shape):
    inputs, *rest = MAKERS[name.removesuffix(HALF)](np.random.default_rng(5), 2, 1, 8, name.endswith(HALF))
    with pytest.raises(Exception, match=r"do(es)? not fit"):
        session(made(name, inputs, *rest), True).run(None, {**inputs, next(iter(inputs)): np.zeros(shape, np.float32)})


@needs_kernels
def test_weights_that_do_not_fit_each_other_are_refused():
    inputs, constants, settings = convnext(np.random.default_rng(6), 2, 1, 8, False)
    constants["narrow"] = constants["narrow"][:, :-1].copy()
    with pytest.raises(Exception, match="do not fit each other"):
        session(made("ConvNeXt", inputs, constants, settings), True)


def test_every_operator_has_a_function_and_a_kernel():
    source = "".join(path.read_text() for path in sorted((built() or pytest.skip("not built")).parent.glob("c/onnx_*.c")))
    for name in NAMES:
        assert f'KIND("{name}"' in source
    plain = {"ToomCook", "EluBlock", "EluSkip", "TwoTaps", "PairedTaps"}  # which have no kernel but in panels
    assert {name.removesuffix(HALF) for name in NAMES} | plain == set(SIGNATURES) >= set(MATRICES)
