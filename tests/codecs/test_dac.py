"""DAC: golden outputs, transformers' and the published implementation's under the same weights, and the promises of a codec."""

import numpy as np
import pytest
import torch

from toneme.codecs.checkpoint import fold_weight_norm
from toneme.codecs.chunking import ChunkedDecoder, ChunkedEncoder
from toneme.codecs.dac import CONFIGS, OFFICIAL, DacCodec, DacConfig
from toneme.codecs.errors import AudioError, CheckpointError
from toneme.codecs.layers.dac_blocks import DacBlocksConfig
from toneme.codecs.registry import from_official

from .official import check_codes, golden_case, golden_spec, golden_weights
from .promises import check_batch, check_comes_back, check_saved

SMALL = DacBlocksConfig(width=4, strides=(2, 5), latent=16, decoder_width=16, keeps_length=False)
CASES = [
    ("dac_16khz", "short"), ("dac_16khz", "batch2_half"), ("dac_44khz", "short"),
    pytest.param("dac_24khz", "short", marks=pytest.mark.slow),
    pytest.param("dac_44khz_16kbps", "short", marks=pytest.mark.slow),
]  # fmt: skip


@pytest.fixture(scope="module")
def official():
    loaded = {}

    def get(name: str) -> DacCodec:
        if name not in loaded:
            loaded[name] = from_official(name, {"state_dict": golden_weights(name), "metadata": {"kwargs": {}}})
        return loaded[name]

    return get


@pytest.fixture(scope="module")
def codec() -> DacCodec:
    torch.manual_seed(0)
    codec = DacCodec(DacConfig(8000, SMALL, 3, 32, 4), "small").eval()
    for key, tensor in codec.state_dict().items():
        if key.endswith("bias"):  # codes of small random layers would say more of them than of the audio
            tensor.zero_()
    return codec


def noise(samples: int, batch: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, 1, samples, generator=torch.Generator().manual_seed(seed)) * 0.3


# -- official weights -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "case"), CASES)
def test_codes_and_audio_equal_the_official_implementation(official, name: str, case: str):
    codec, case = official(name), golden_case(name, case)
    depth = int(case["codes"].shape[1])
    tokens = codec.encode(torch.from_numpy(case["in_audio"]), codebooks=depth)
    check_codes(tokens.codes, case["codes"], case["margin"])
    audio = codec.decode(codec.tokens_from_codes(torch.from_numpy(case["codes"]).long())).numpy()
    sounding = case["output"].shape[-1]
    np.testing.assert_allclose(audio[..., :sounding], case["output"], atol=1e-4)  # float32 sums in another order
    assert not audio[..., sounding:].any()


@pytest.mark.parametrize("fast", [True, False])
def test_latents_equal_the_official_implementation(official, fast: bool):
    codec, case = official("dac_16khz"), golden_case("dac_16khz", "short")
    audio = torch.nn.functional.pad(torch.from_numpy(case["in_audio"]), (0, 160))
    with torch.set_grad_enabled(not fast):  # with gradients the layers are torch's own convolutions
        np.testing.assert_allclose(codec.encoder(audio).detach(), case["latents"], atol=2e-4)


def test_a_stage_of_stride_5_loses_a_sample_as_published(official):
    for name, hop, lost in (("dac_16khz", 320, 8), ("dac_44khz", 512, 0)):
        codec = official(name)
        codes = torch.ones(1, codec.spec.codebooks, 3, dtype=torch.int64)
        with torch.inference_mode():
            assert codec.decoder(codec.quantizer.decode(codes)).shape[-1] == 3 * hop - lost
        audio = codec.decode(codec.tokens_from_codes(codes))
        assert audio.shape[-1] == 3 * hop  # what is missing is silence
        assert not audio[..., 3 * hop - lost :].any()


@pytest.mark.parametrize("name", CONFIGS)
def test_specifications_are_the_published_ones(name: str):
    with torch.device("meta"):
        codec = DacCodec(CONFIGS[name], name)
    expected = {  # Hz, hop, codebooks, kbps, millions of parameters
        "dac_44khz": (44100, 512, 9, 7.75, 76.65), "dac_44khz_16kbps": (44100, 512, 18, 15.5, 64.21),
        "dac_24khz": (24000, 320, 32, 24, 74.71), "dac_16khz": (16000, 320, 12, 6, 74.18),
    }[name]  # fmt: skip
    spec, parameters = codec.spec, sum(p.numel() for p in codec.parameters()) / 1e6
    assert (spec.sample_rate, spec.hop, spec.codebooks) == expected[:3]
    assert spec.bitrate() == pytest.approx(expected[3], rel=1e-3)
    assert parameters == pytest.approx(expected[4], rel=2e-3)  # weight norm's gains are multiplied out
    assert spec.licence == "MIT"


def test_both_spellings_of_weight_norm_give_the_same_codec(official):
    weights, expected = golden_weights("dac_16khz"), official("dac_16khz").state_dict()
    parametrized = {
        k.replace("weight_g", "parametrizations.weight.original0").replace("weight_v", "parametrizations.weight.original1"): v
        for k, v in weights.items()
    }
    for spelling in (parametrized, fold_weight_norm(weights)):
        loaded = OFFICIAL["dac_16khz"](spelling).state_dict()
        assert all(torch.equal(loaded[key], expected[key]) for key in expected)


def test_all_that_does_not_fit_is_in_one_error():
    weights = dict(golden_weights("dac_16khz"))
    del weights["encoder.block.0.weight_g"]
    weights["decoder.model.5.alpha"] = torch.ones(1, 3, 1)
    weights["decoder.model.99.bias"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as error:
        OFFICIAL["dac_16khz"](weights)
    for part in (
        "1 missing: encoder.block.0.weight_g",
        "1 unexpected: decoder.model.99.bias",
        "[1, 3, 1] (expected [1, 96, 1])",
    ):
        assert part in str(error.value)


def test_transformers_gives_the_same_codes_and_audio(monkeypatch):
    transformers = pytest.importorskip("transformers", reason="the peers extra is not installed")
    torch.manual_seed(0)
    settings = {"encoder_hidden_size": 8, "downsampling_ratios": [2, 4, 5, 8], "decoder_hidden_size": 48, "n_codebooks": 12}
    peer = transformers.DacModel(transformers.DacConfig(**settings, sampling_rate=16000)).eval()
    blocks = DacBlocksConfig(8, (2, 4, 5, 8), peer.config.hidden_size, 48, keeps_length=False)
    monkeypatch.setitem(CONFIGS, "dac_16khz", DacConfig(16000, blocks, 12))
    ours, audio = from_official("dac_16khz", peer), noise(6400, batch=2)
    tokens = ours.encode(audio)
    with torch.no_grad():
        encoded = peer.encode(audio)
        sound = peer.decode(audio_codes=encoded.audio_codes).audio_values
    # 64-bit products settle what is nearly a tie here, 32-bit ones there
    assert (tokens.codes != encoded.audio_codes).float().mean() <= 0.001
    mine = ours.decode(ours.tokens_from_codes(encoded.audio_codes))[:, 0]
    torch.testing.assert_close(mine[..., : sound.shape[-1]], sound, atol=1e-4, rtol=0)


def test_the_published_package_gives_the_same_codes_and_audio():
    dac = pytest.importorskip("dac.model.dac", reason="descript-audio-codec pins a protobuf that other extras cannot live with")
    torch.manual_seed(0)
    peer = dac.DAC(**golden_spec("dac_16khz")["kwargs"]).eval()
    ours, audio = from_official("dac_16khz", peer), noise(4800)
    with torch.inference_mode():
        codes = peer.encode(audio)[1]
        sound = peer.decode(peer.quantizer.from_codes(codes)[0])
    assert (ours.encode(audio).codes != codes).float().mean() <= 0.001
    mine = ours.decode(ours.tokens_from_codes(codes))
    torch.testing.assert_close(mine[..., : sound.shape[-1]], sound, atol=1e-4, rtol=0)


# -- promises, at a small size ----------------------------------------------------------------------------------


def test_a_saved_codec_codes_alike(codec: DacCodec, tmp_path):
    check_saved(codec, noise(1000), tmp_path)


@pytest.mark.parametrize("samples", [0, 1, 9, 10, 11, 19, 333, 1001])
def test_every_length_comes_back(codec: DacCodec, samples: int):
    tokens = check_comes_back(codec, noise(samples))
    assert tokens.codes.shape[-1] == codec.n_frames(samples)[0] == -(-samples // 10)


def test_a_batch_codes_like_its_items(codec: DacCodec):
    check_batch(codec, noise(1001, batch=5), [1001, 389, 0, 7, 800])


def test_fewer_codebooks_are_a_prefix(codec: DacCodec):
    whole = codec.encode(noise(999)).codes
    for depth in (1, 2):
        assert torch.equal(codec.encode(noise(999), codebooks=depth).codes, whole[:, :depth])


def test_a_frame_sees_no_further_than_the_receptive_field(codec: DacCodec):
    reach, hop = codec.spec.receptive_field, codec.spec.hop
    frame, samples = 60, 1200
    assert reach < frame * hop
    inside = noise(samples)
    outside = noise(samples, seed=1)
    outside[..., frame * hop - reach : frame * hop + hop + reach] = inside[..., frame * hop - reach : frame * hop + hop + reach]
    codes, others = codec.encode(inside).codes, codec.encode(outside).codes
    assert torch.equal(codes[..., frame], others[..., frame])
    assert not torch.equal(codes, others)
    changed = (codes + 1) % 32
    near = slice(frame - reach // hop, frame + 1 + reach // hop)
    changed[..., near] = codes[..., near]
    a, b = (codec.decode(codec.tokens_from_codes(c))[..., frame * hop : (frame + 1) * hop] for c in (codes, changed))
    torch.testing.assert_close(a, b, atol=1e-6, rtol=0)  # blocks begin elsewhere, sums may run in another order


@pytest.mark.parametrize("samples", [5, 3000, 4001])
def test_chunks_equal_the_whole(codec: DacCodec, samples: int):
    audio = noise(samples, batch=2)
    tokens = codec.encode(audio)
    encoder, decoder = ChunkedEncoder(codec, 2, seconds=0.05), ChunkedDecoder(codec, 2, seconds=0.05)
    pieces = [encoder.push_tokens(part) for part in audio.split(777, dim=-1)] + [encoder.flush_tokens()]
    assert torch.equal(torch.cat([piece.codes for piece in pieces], dim=-1), tokens.codes)
    sound = torch.cat([*(decoder.push(piece) for piece in pieces), decoder.flush(samples)], dim=-1)
    torch.testing.assert_close(sound, codec.decode(tokens), atol=1e-5, rtol=0)


def test_a_long_file_is_worked_on_in_chunks(codec: DacCodec, monkeypatch):
    audio, longest = noise(8000), []
    whole = codec.encode(audio)
    sound = codec.decode(whole)
    piece = codec._encode_piece
    monkeypatch.setattr("toneme.codecs.long_audio.PIECE_SECONDS", 0.1)
    monkeypatch.setattr(codec, "_encode_piece", lambda w, n: longest.append(w.shape[-1]) or piece(w, n))
    tokens = codec.encode(audio)
    assert torch.equal(tokens.codes, whole.codes)
    assert len(longest) > 2
    assert max(longest) < 4000
    torch.testing.assert_close(codec.decode(tokens), sound, atol=1e-5, rtol=0)


def test_audio_that_is_none_is_refused(codec: DacCodec):
    audio = noise(500)
    audio[0, 0, 300] = float("nan")
    with pytest.raises(AudioError, match="NaN"):
        codec.encode(audio)
