"""SNAC: golden outputs, the published package's under the same weights, and the promises of a codec."""

import numpy as np
import pytest
import torch

from toneme.codecs.chunking import ChunkedDecoder, ChunkedEncoder
from toneme.codecs.errors import CheckpointError, ShapeError
from toneme.codecs.layers.dac_blocks import DacBlocksConfig
from toneme.codecs.registry import from_official
from toneme.codecs.snac import CONFIGS, OFFICIAL, SnacCodec, SnacConfig

from .official import _fill, golden_case, golden_spec, golden_weights
from .promises import check_comes_back, check_saved

PLAIN = DacBlocksConfig(8, (2, 4), 32, 32, depthwise=True, noise=True)
WINDOWED = DacBlocksConfig(16, (2, 3), 64, 64, depthwise=True, noise=True, attention=6)
SMALL = {
    "plain": SnacConfig(8000, PLAIN, (4, 2, 1), 32, 4),
    "windowed": SnacConfig(8000, WINDOWED, (4, 2, 1), 32, 4),
}


@pytest.fixture(scope="module")
def official() -> SnacCodec:
    return from_official("snac-24khz", golden_weights("snac_24khz"))


@pytest.fixture(params=SMALL)
def codec(request) -> SnacCodec:
    return small(request.param)


def small(name: str) -> SnacCodec:
    torch.manual_seed(0)
    codec = SnacCodec(SMALL[name], name).eval()
    for key, tensor in codec.state_dict().items():
        if key.endswith("bias"):  # codes of small random layers would say more of them than of the audio
            tensor.zero_()
    return codec


def noise(samples: int, batch: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, 1, samples, generator=torch.Generator().manual_seed(seed)) * 0.3


def golden_codes(case: dict) -> list[torch.Tensor]:
    return [torch.from_numpy(case[f"codes_{i}"]).long()[:, None] for i in range(3)]


# -- official weights -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["short", "batch2"])
def test_codes_and_audio_equal_the_official_implementation(official: SnacCodec, case: str):
    case = golden_case("snac_24khz", case)
    tokens = official.encode(torch.from_numpy(case["in_audio"]))
    for ours, theirs in zip(tokens.streams, golden_codes(case), strict=True):
        assert torch.equal(ours, theirs)
    audio = official.decode(official.tokens_from_codes(golden_codes(case)))
    np.testing.assert_allclose(audio, case["output"], atol=1e-4)  # float32 sums in another order


@pytest.mark.slow
def test_the_models_with_attention_equal_the_official_implementation():
    case, weights = golden_case("snac_44khz", "short"), golden_weights("snac_44khz")
    codes = [torch.from_numpy(case[f"codes_{i}"]).long()[:, None] for i in range(4)]
    for name in ("snac_44khz", "snac_32khz"):  # one network at two sample rates
        codec = from_official(name, weights)
        found = codec.encode(torch.from_numpy(case["in_audio"])).streams
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, codes, strict=True))
        audio = codec.decode(codec.tokens_from_codes(codes))
        np.testing.assert_allclose(audio, case["output"], atol=1e-4)  # float32 sums in another order


def test_audio_with_noise_equals_the_official_implementation(official: SnacCodec):
    case, salt = golden_case("snac_24khz", "batch2"), golden_spec("snac_24khz")["salt"]
    tokens = official.tokens_from_codes(golden_codes(case))
    shapes = official.noise_shapes(2, case["codes_2"].shape[-1])
    drawn = [torch.from_numpy(_fill().standard(f"noise/{i}", shape, salt)).float() for i, shape in enumerate(shapes)]
    np.testing.assert_allclose(official.decode_noisy(tokens, drawn), case["output_noise"], atol=1e-4)


def test_latents_equal_the_official_implementation_with_gradients_too(official: SnacCodec):
    case = golden_case("snac_24khz", "short")
    audio = torch.nn.functional.pad(torch.from_numpy(case["in_audio"]), (0, 4096 - 2640))
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            np.testing.assert_allclose(official.encoder(audio).detach(), case["latents"], atol=2e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_specifications_are_the_published_ones(name: str):
    with torch.device("meta"):
        codec = SnacCodec(CONFIGS[name], name)
    expected = {  # kbps, samples padded to, millions of parameters
        "snac_24khz": (0.98, 2048, 19.8), "snac_32khz": (1.9, 12288, 54.5), "snac_44khz": (2.6, 12288, 54.5),
    }[name]  # fmt: skip
    assert codec.spec.bitrate() == pytest.approx(expected[0], rel=0.02)
    assert codec.padded_to == expected[1]
    assert sum(p.numel() for p in codec.parameters()) / 1e6 == pytest.approx(expected[2], rel=5e-3)


@pytest.mark.parametrize("name", SMALL)
def test_the_published_package_gives_the_same_codes_and_audio(name: str, monkeypatch):
    snac = pytest.importorskip("snac", reason="the peers extra is not installed")
    torch.manual_seed(0)
    config, blocks = SMALL[name], SMALL[name].blocks
    peer = snac.SNAC(
        8000, blocks.width, list(blocks.strides), None, blocks.decoder_width, list(blocks.strides[::-1]),
        blocks.attention or None, config.codebook_size, config.code_dim, list(config.frames_per_code), depthwise=True,
    ).eval()  # fmt: skip
    monkeypatch.setitem(CONFIGS, "snac_44khz", config)
    ours, audio = from_official("snac_44khz", peer), noise(1001, batch=2)
    drawn = iter(parts := [noise(shape[-1], 2, i) for i, shape in enumerate(ours.noise_shapes(2, ours.n_frames(1001)[-1]))])
    monkeypatch.setattr(torch, "randn", lambda *args, **kwargs: next(drawn))
    with torch.inference_mode():
        codes = peer.encode(audio)
        sound = peer.decode(codes)
    tokens = ours.encode(audio)
    different = [(mine[:, 0] != theirs).float().mean() for mine, theirs in zip(tokens.streams, codes, strict=True)]
    assert max(different) <= 0.001
    mine = ours.decode_noisy(ours.tokens_from_codes([part[:, None] for part in codes]), parts)
    torch.testing.assert_close(mine, sound, atol=1e-4, rtol=0)


def test_all_that_does_not_fit_is_in_one_error():
    weights = dict(golden_weights("snac_24khz"))
    del weights["decoder.model.2.block.2.linear.parametrizations.weight.original0"]
    weights["quantizer.quantizers.9.codebook.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as error:
        OFFICIAL["snac_24khz"](weights)
    assert "1 missing: decoder.model.2.block.2.linear" in str(error.value)
    assert "1 unexpected: quantizer.quantizers.9" in str(error.value)


# -- promises, at a small size ----------------------------------------------------------------------------------


def test_a_saved_codec_codes_alike(codec: SnacCodec, tmp_path):
    check_saved(codec, noise(999), tmp_path)


@pytest.mark.parametrize("samples", [0, 1, 31, 32, 33, 72, 73, 1001])
def test_every_length_comes_back(codec: SnacCodec, samples: int):
    tokens = check_comes_back(codec, noise(samples))
    assert tuple(codes.shape[-1] for codes in tokens.streams) == codec.n_frames(samples)
    assert tokens.streams[0].shape[-1] * 4 == tokens.streams[2].shape[-1]


def test_a_batch_codes_like_its_items(codec: SnacCodec):
    lengths = [1001, 389, 0, 7]
    audio = noise(1001, batch=4)
    tokens = codec.encode(audio, lengths=lengths)
    decoded, noisy = codec.decode(tokens), codec.decode_noisy(tokens, 3)
    for i, length in enumerate(lengths):
        alone = codec.encode(audio[i : i + 1, :, :length])
        assert all(torch.equal(a, b) for a, b in zip(tokens[i].streams, alone.streams, strict=True))
        torch.testing.assert_close(decoded[i : i + 1, :, :length], codec.decode(alone), atol=1e-5, rtol=0)
        assert not decoded[i, :, length:].any()
        assert not noisy[i, :, length:].any()


def test_fewer_codebooks_are_a_prefix(codec: SnacCodec):
    whole = codec.encode(noise(999))
    for depth in (1, 2):
        part = codec.encode(noise(999), codebooks=depth)
        assert all(torch.equal(a, b) for a, b in zip(part.streams[:depth], whole.streams, strict=False))
        assert all(codes.shape[1] == 0 for codes in part.streams[depth:])
        assert codec.decode(part).shape == (1, 1, 999)


@pytest.mark.parametrize("samples", [5, 3000, 4001])
def test_chunks_equal_the_whole(codec: SnacCodec, samples: int):
    audio = noise(samples, batch=2)
    tokens = codec.encode(audio)
    encoder, decoder = ChunkedEncoder(codec, 2, seconds=0.05), ChunkedDecoder(codec, 2, seconds=0.05)
    pieces = [encoder.push_tokens(part) for part in audio.split(777, dim=-1)] + [encoder.flush_tokens()]
    for i, whole in enumerate(tokens.streams):
        assert torch.equal(torch.cat([piece.streams[i] for piece in pieces], dim=-1), whole)
    sound = torch.cat([*(decoder.push(piece) for piece in pieces), decoder.flush(samples)], dim=-1)
    torch.testing.assert_close(sound, codec.decode(tokens), atol=1e-5, rtol=0)


def test_a_code_sees_no_further_than_the_receptive_field(codec: SnacCodec):
    reach, unit = codec.spec.receptive_field, codec.padded_to
    start = -(-reach // unit) * unit  # a whole stretch of padding: every stream has codes there
    samples = 2 * start + unit
    inside, outside = noise(samples), noise(samples, seed=1)
    outside[..., start - reach : start + unit + reach] = inside[..., start - reach : start + unit + reach]
    for a, b, stream in zip(codec.encode(inside).streams, codec.encode(outside).streams, codec.spec.streams, strict=True):
        place = slice(start // stream.hop, (start + unit) // stream.hop)
        assert torch.equal(a[..., place], b[..., place])
        assert not torch.equal(a, b)


def test_noise_is_the_seeds_and_changes_the_audio():
    codec = small("plain")
    tokens = codec.encode(noise(500))
    assert torch.equal(codec.decode_noisy(tokens, 1), codec.decode_noisy(tokens, 1))
    assert not torch.equal(codec.decode_noisy(tokens, 1), codec.decode_noisy(tokens, 2))
    silent = [torch.zeros(shape) for shape in codec.noise_shapes(1, tokens.streams[2].shape[-1])]
    torch.testing.assert_close(codec.decode_noisy(tokens, silent), codec.decode(tokens), atol=1e-6, rtol=0)
    with pytest.raises(ShapeError, match="noise must be"):
        codec.decode_noisy(tokens, silent[:1])


def test_streams_that_do_not_cover_the_same_time_are_refused():
    codec = small("plain")
    streams = [torch.zeros(1, 1, n, dtype=torch.int64) for n in (2, 3, 8)]
    with pytest.raises(ShapeError, match="same time"):
        codec.decode(codec.tokens_from_codes(streams, 64))
