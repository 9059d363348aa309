"""Mimi exported: attention over a window of keys and values that are kept as states, and two branches of codes."""

import pytest
import torch

from toneme.codecs.layers.seanet import SEANetConfig
from toneme.codecs.layers.transformer import TransformerConfig
from toneme.codecs.mimi import MimiCodec, MimiConfig
from toneme.export.folder import export_codec
from toneme.export.runtime import StreamingCodec

from .families import check_cuts, check_depths, check_lengths, lively

CONTEXT = 7
SMALL = MimiConfig(
    seanet=SEANetConfig(
        dimension=32, filters=4, ratios=(4, 2), last_kernel=3, pad_mode="constant", true_skip=True, lstm=0
    ),
    transformer=TransformerConfig(width=32, heads=2, layers=2, hidden=64, context=CONTEXT),
    codebooks=4, codebook_size=32, code_width=8,
)  # fmt: skip


@pytest.fixture(scope="module")
def codec() -> MimiCodec:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return lively(MimiCodec(SMALL, "small-mimi"))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def exported(codec, tmp_path_factory) -> StreamingCodec:
    folder = tmp_path_factory.mktemp("export") / "mimi"
    export_codec(codec, folder)
    return StreamingCodec(folder)


def test_any_length_is_pytorchs(codec, exported):
    check_lengths(codec, exported)


def test_any_cut_gives_the_whole(codec, exported):
    check_cuts(codec, exported, 1500, (7, 16, 48, 112, 1500))


def test_any_depth_is_pytorchs_the_semantic_code_alone_too(codec, exported):
    check_depths(codec, exported)


def test_keys_and_values_do_not_grow(exported):
    shapes = {state.name: state.shape for state in exported.manifest.encoder.states}
    assert shapes["keys.0"] == shapes["values.1"] == ("batch", 2, CONTEXT - 1, 16)
    assert shapes["position"] == ("batch",)
