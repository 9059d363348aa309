"""EnCodec exported: LSTM, padding that mirrors both ends, frames that wait for each other at the start."""

import numpy as np
import pytest
import torch

import toneme
from toneme.codecs.encodec import CONFIGS, EncodecCodec, EncodecConfig
from toneme.codecs.layers.seanet import SEANetConfig
from toneme.export.encodec import directions
from toneme.export.folder import export_codec
from toneme.export.runtime import StreamingCodec

from .agreement import check_codes
from .families import check_cuts, check_depths, check_lengths, lively, noise

SMALL = EncodecConfig(seanet=SEANetConfig(dimension=16, filters=4, ratios=(5, 4, 2)), codebooks=4, codebook_size=32)


@pytest.fixture(scope="module")
def codec() -> EncodecCodec:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return lively(EncodecCodec(SMALL, "small-encodec"))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def exported(codec, tmp_path_factory) -> StreamingCodec:
    folder = tmp_path_factory.mktemp("export") / "encodec"
    export_codec(codec, folder)
    return StreamingCodec(folder)


def test_any_length_is_pytorchs(codec, exported):
    check_lengths(codec, exported)


def test_any_cut_gives_the_whole(codec, exported):
    check_cuts(codec, exported, 2011, (7, 40, 120, 280, 2011))


def test_any_depth_is_pytorchs(codec, exported):
    check_depths(codec, exported)


def test_codes_are_the_nearest_save_ties(codec, exported):
    audio = noise(40 * 30, batch=1)
    with torch.inference_mode():
        latents = codec.encoder(audio)
    check_codes(exported.encode(audio.numpy()), latents, codec.quantizer.codebooks)


def test_states_are_named_and_start_as_silence(exported):
    names = {state.name for state in exported.manifest.encoder.states}
    assert {"started", "first", "down0", "stage0.0.conv1", "lstm.hidden.0", "lstm.cell.1", "last"} <= names
    saved = exported.encoder().save()
    assert saved.pop("count.end") == -1, "not told yet"
    assert all(value.sum() == 0 for value in saved.values())


def test_streams_of_another_start_hear_only_themselves(exported):
    audio = noise(2000, batch=2).numpy()
    np.testing.assert_array_equal(exported.encode(audio)[1:], exported.encode(audio[1:]))


def test_segments_are_refused():
    codec = EncodecCodec(CONFIGS["encodec_48khz"], "encodec_48khz")
    with pytest.raises(toneme.CheckpointError, match="only the causal EnCodec"):
        directions(codec, 16)
