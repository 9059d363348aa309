"""What every family promises, at a small size: streams of random pieces, prefixes, stated reach, half precision."""

import importlib
import math

import pytest
import torch
from torch import Tensor

from toneme.codecs.agreement import agreement
from toneme.codecs.base import Codec
from toneme.codecs.chunking import ChunkedEncoder
from toneme.codecs.errors import ShapeError
from toneme.codecs.registry import FAMILIES

from .promises import check_prefix, check_reach, check_streams
from .small_codecs import CODECS, small_codec

transformers = pytest.importorskip("transformers", reason="X-Codec and units need transformers: pip install toneme[train]")
SILENT = "units"


@pytest.fixture(scope="module", params=CODECS)
def codec(request: pytest.FixtureRequest) -> Codec:
    return small_codec(request.param)


def noise(codec: Codec, seconds: float, batch: int = 1) -> Tensor:
    shape = batch, codec.spec.channels, round(seconds * codec.spec.sample_rate)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 0.3


def test_there_is_a_small_codec_of_every_family():
    kinds = {getattr(importlib.import_module(f"toneme.codecs{module}"), name) for module, name in FAMILIES.values()}
    assert {kind for kind, _ in CODECS.values()} == kinds


def test_streams_of_random_pieces_equal_the_whole(codec: Codec):
    if codec.family == SILENT:
        with pytest.raises(ShapeError, match="no sound"):
            codec.stream_decoder()
        return
    check_streams(codec, noise(codec, 0.4, batch=2))


def test_fewer_codebooks_are_a_prefix(codec: Codec):
    check_prefix(codec, noise(codec, 0.15))


def test_what_is_beyond_the_reach_changes_no_code(codec: Codec):
    spec = codec.spec
    seconds = (4 * (spec.receptive_field or 0) / 3 + 2400) / spec.sample_rate
    kept = check_reach(codec, noise(codec, seconds))
    assert kept > 0 or spec.receptive_field is None
    assert codec.window or spec.causal or spec.receptive_field is not None


def test_codecs_that_see_everything_state_what_their_streams_wait_for(codec: Codec):
    encoder, spec = codec.stream_encoder(), codec.spec
    if spec.causal or spec.receptive_field is not None or not isinstance(encoder, ChunkedEncoder):
        return
    waits = (encoder.plan.chunk + encoder.plan.context) * spec.hop
    assert encoder.push(torch.zeros(1, spec.channels, waits - 1)).shape[-1] == 0  # type: ignore[union-attr]
    assert encoder.push(torch.zeros(1, spec.channels, 1)).shape[-1] == encoder.plan.chunk  # type: ignore[union-attr]
    chunked = waits - spec.hop  # of a decoder that sees everything too
    rest = {SILENT: lambda: 0, "xcodec": lambda: codec.config.blocks.reach}.get(codec.family, lambda: chunked)()
    assert spec.latency == waits + rest


def test_half_precision_codes_mostly_alike_and_sounds_alike(codec: Codec):
    if codec.family == SILENT:
        equal = codec.encode(noise(codec, 0.3)).codes == small_codec(SILENT).bfloat16().encode(noise(codec, 0.3)).codes
        assert equal.float().mean() > 0.7
        return
    found = agreement(codec, noise(codec, 0.3))
    assert len(found.codes) == codec.spec.codebooks
    assert found.codes[0] > 0.7, found
    assert found.snr > 15, found


def test_agreement_with_itself_is_whole(codec: Codec):
    if codec.family != SILENT:
        found = agreement(codec, noise(codec, 0.1), torch.float32)
        assert set(found.codes) == {1.0}
        assert found.snr > 100
        assert "100.00% of the first codebook" in str(found)
        assert math.isfinite(found.snr)
