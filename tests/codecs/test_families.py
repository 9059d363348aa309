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

from .promises import check_latency, check_prefix, check_reach, check_streams
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


FIXED = ("encodec, segments", "semanticodec")  # what they work on at once is part of what they are


@pytest.fixture
def chunk_seconds(codec: Codec) -> float:
    """Shorter than any codec's own."""
    try:
        codec.latencies(0.04)
    except ShapeError:
        pytest.skip("fixed by its weights: test_chunks_that_weights_fix_are_refused")
    return 0.04


def test_chunks_that_weights_fix_are_refused(codec: Codec, request: pytest.FixtureRequest):
    fixed = request.node.callspec.params["codec"] in FIXED
    for make in (codec.stream_encoder, codec.stream_decoder):
        if fixed:
            with pytest.raises(ShapeError, match="as its weights were trained: leave chunk_seconds out"):
                make(chunk_seconds=0.01)
        if codec.family != SILENT:
            with pytest.raises(ShapeError, match="chunk_seconds must be a number of seconds above 0"):
                make(chunk_seconds=-1.0)


def test_short_chunks_equal_the_whole_where_long_ones_do(codec: Codec, chunk_seconds: float):
    if codec.spec.causal or codec.spec.receptive_field is not None or codec.family == "bigcodec":
        check_streams(codec, noise(codec, 0.2, batch=2), chunk_seconds=chunk_seconds)


def test_short_chunks_of_codecs_that_see_everything_are_recorded(codec: Codec):
    own = codec.stream_encoder()
    if not isinstance(own, ChunkedEncoder) or codec.spec.receptive_field is not None:
        return
    found, length = [], codec.stream_encoder(chunk_seconds=0.25).latency + codec.spec.sample_rate // 2
    for size in (length, 1234):
        encoder = codec.stream_encoder(chunk_seconds=0.25)
        parts = noise(codec, length / codec.spec.sample_rate).split(size, dim=-1)
        pieces = [*map(encoder.push_tokens, parts), encoder.flush_tokens()]
        chunk = round(0.25 * codec.spec.sample_rate / own.plan.unit) * own.plan.unit
        assert {piece.metadata["window"] for piece in pieces} == {f"chunk={chunk} context={own.plan.context * own.plan.unit}"}
        found.append(torch.cat([piece.codes for piece in pieces], dim=-1))
    assert torch.equal(*found)
    assert found[0].shape[-1:] == codec.n_frames(length)


def test_streams_state_what_they_wait_for(codec: Codec):
    check_latency(codec)


def test_streams_of_short_chunks_state_what_they_wait_for(codec: Codec, chunk_seconds: float):
    check_latency(codec, chunk_seconds)
    both = zip(codec.latencies(chunk_seconds), codec.latencies(), strict=True)
    assert all(short is None or (short < long if codec.chunked else short == long) for short, long in both)  # type: ignore[operator]


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
    if spec.causal or spec.receptive_field is not None:
        return
    if not isinstance(encoder, ChunkedEncoder):
        assert spec.latency == encoder.latency + codec.stream_decoder().latency - spec.hop
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
