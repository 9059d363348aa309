"""BigCodec: golden outputs of the official implementation, and the promises of a codec."""

import numpy as np
import pytest
import torch

from toneme.codecs import bigcodec
from toneme.codecs.bigcodec import OFFICIAL, SHAPE, BigCodec, BigCodecConfig
from toneme.codecs.errors import CheckpointError
from toneme.codecs.layers.dac_blocks import DacBlocksConfig
from toneme.codecs.registry import from_official

from .official import check_codes, golden_case, golden_weights
from .promises import check_batch, check_comes_back, check_saved

SMALL = DacBlocksConfig(4, (2, 5), 16, 16, activation=SHAPE.activation, lstm=2)


@pytest.fixture(scope="module")
def official() -> BigCodec:
    parts = {"CodecEnc": {}, "generator": {}}
    for name, tensor in golden_weights("bigcodec").items():
        part, rest = name.split(".", 1)
        parts[part][rest] = tensor
    return from_official("bigcodec", parts)  # as in the published file


@pytest.fixture(scope="module")
def codec() -> BigCodec:
    torch.manual_seed(0)
    codec = BigCodec(BigCodecConfig(8000, SMALL, 32, 4), "small").eval()
    for key, tensor in codec.state_dict().items():
        if key.endswith("bias"):  # codes of small random layers would say more of them than of the audio
            tensor.zero_()
    return codec


def noise(samples: int, batch: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, 1, samples, generator=torch.Generator().manual_seed(seed)) * 0.3


@pytest.mark.parametrize("case", ["short_aligned", "batch2"])
def test_codes_and_audio_equal_the_official_implementation(official: BigCodec, case: str):
    case = golden_case("bigcodec", case)
    codes = case["codes"].transpose(1, 0, 2)
    tokens = official.encode(torch.from_numpy(case["in_audio"]))
    check_codes(tokens.codes, codes, case["margin"].reshape(codes.shape))
    audio = official.decode(official.tokens_from_codes(torch.from_numpy(codes.copy()).long()))
    np.testing.assert_allclose(audio, case["output"], atol=1e-4)  # float32 sums in another order


def test_the_specification_is_the_published_one():
    with torch.device("meta"):
        codec = BigCodec(BigCodecConfig())
    assert codec.spec.bitrate() == pytest.approx(1.04)
    assert codec.spec.receptive_field is None
    assert sum(p.numel() for p in codec.parameters()) / 1e6 == pytest.approx(159.4, rel=2e-3)
    assert codec.n_frames(1800) == (10,)  # one frame is always added
    assert codec.n_frames(1801) == (10,)


def test_all_that_does_not_fit_is_in_one_error():
    weights = dict(golden_weights("bigcodec"))
    del weights["generator.model.1.lstm.weight_hh_l1"]
    weights["CodecEnc.block.99.bias"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as error:
        OFFICIAL["bigcodec"](weights)
    assert "1 missing: generator.model.1.lstm.weight_hh_l1" in str(error.value)
    assert "1 unexpected: CodecEnc.block.99.bias" in str(error.value)


def test_a_saved_codec_codes_alike(codec: BigCodec, tmp_path):
    check_saved(codec, noise(999), tmp_path)


@pytest.mark.parametrize("samples", [0, 1, 9, 10, 11, 333, 1000])
def test_every_length_comes_back(codec: BigCodec, samples: int):
    tokens = check_comes_back(codec, noise(samples))
    assert tokens.codes.shape[-1] == codec.n_frames(samples)[0] == (samples // 10 + 1 if samples else 0)


def test_a_batch_codes_like_its_items(codec: BigCodec):
    check_batch(codec, noise(1001, batch=4), [1001, 389, 0, 7])


@pytest.mark.parametrize("samples", [0, 5, 1000, 2340, 6001])
def test_streams_in_chunks_equal_one_pass(codec: BigCodec, samples: int, monkeypatch: pytest.MonkeyPatch):
    audio = noise(samples, batch=2)
    tokens = codec.encode(audio)
    whole = codec.decode(tokens)
    monkeypatch.setattr(bigcodec, "CHUNK", 40)
    encoder, decoder = codec.stream_encoder(2), codec.stream_decoder(2)
    pieces = [encoder.push_tokens(part) for part in audio.split(77, dim=-1)] + [encoder.flush_tokens()]
    assert torch.equal(torch.cat([piece.codes for piece in pieces], dim=-1), tokens.codes)
    sound = torch.cat([*(decoder.push(piece) for piece in pieces), decoder.flush(samples)], dim=-1)
    torch.testing.assert_close(sound, whole, atol=1e-5, rtol=0)
    assert max((piece.codes.shape[-1] for piece in pieces), default=0) < max(120, len(pieces))  # they come as they are certain
