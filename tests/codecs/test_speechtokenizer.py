"""SpeechTokenizer: the official goldens at full size, the official package, and the promises of a codec at a small size."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from toneme.codecs import speechtokenizer
from toneme.codecs.errors import AudioError, CheckpointError, ShapeError
from toneme.codecs.layers import seanet
from toneme.codecs.layers.seanet import SEANetConfig
from toneme.codecs.speechtokenizer import CONFIGS, OFFICIAL, SpeechTokenizerCodec, SpeechTokenizerConfig

from .official import check_codes, golden_case, golden_weights
from .promises import check_batch, check_comes_back, check_saved

slow = pytest.mark.slow
HOP = 8
PLAIN = SpeechTokenizerConfig(
    seanet=SEANetConfig(filters=4, dimension=16, ratios=(4, 2), causal=False, bidirectional=True),
    codebook_size=32, taught=12, window=40 * HOP,
)  # fmt: skip
SMALL = {"elu": PLAIN, "snake": dataclasses.replace(PLAIN, seanet=dataclasses.replace(PLAIN.seanet, activation="snake"))}


@pytest.fixture(scope="module", params=SMALL)
def codec(request: pytest.FixtureRequest) -> SpeechTokenizerCodec:
    return small(request.param)


def small(kind: str) -> SpeechTokenizerCodec:
    torch.manual_seed(3)
    codec = SpeechTokenizerCodec(SMALL[kind], kind).eval()
    codec.quantizer.codebooks.normal_(std=0.3)
    with torch.no_grad():  # default initialisation fades out over so many layers
        for name, weight in codec.named_parameters():
            if name.endswith("weight") and weight.ndim == 3:
                weight.mul_(2.0)
    return codec


@pytest.fixture(scope="module")
def official() -> SpeechTokenizerCodec:
    return OFFICIAL["speechtokenizer"](golden_weights("speechtokenizer"))


def noise(samples: int, batch: int = 1, seed: int = 0) -> Tensor:
    return torch.randn(batch, 1, samples, generator=torch.Generator().manual_seed(seed)) * 0.3


# -- official weights -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["short", "batch2"])
def test_codes_and_audio_equal_the_official_implementation(official: SpeechTokenizerCodec, case: str):
    case = golden_case("speechtokenizer", case)
    codes = case["codes"].transpose(1, 0, 2)
    tokens = official.encode(torch.from_numpy(case["in_audio"]), codebooks=int(case["in_n_q"]))
    check_codes(tokens.codes, codes, case["margin"])
    codes = torch.from_numpy(codes).long()
    audio = official.decode(official.tokens_from_codes(codes))
    np.testing.assert_allclose(audio, case["output"], atol=1e-4)  # float32 sums in another order
    features = official.semantic_features(codes)[:, :8].transpose(1, 2)
    np.testing.assert_allclose(features, case["transform_first8"], atol=1e-4)


def test_latents_equal_the_official_implementation(official: SpeechTokenizerCodec):
    case = golden_case("speechtokenizer", "short")
    audio = torch.from_numpy(case["in_audio"])
    with torch.inference_mode():
        np.testing.assert_allclose(official.encoder(audio), case["latents"], atol=2e-4)
    # with gradients the layers take torch's own convolutions
    np.testing.assert_allclose(official.encoder(audio).detach(), case["latents"], atol=2e-4)


def test_numbers_are_the_papers(official: SpeechTokenizerCodec):
    spec = official.spec
    assert (spec.sample_rate, spec.frame_rate, spec.bitrate()) == (16000, 50, 4.0)
    assert (spec.roles[:2], spec.causal, spec.receptive_field) == (("semantic", "acoustic"), False, None)
    assert round(sum(weight.numel() for weight in official.parameters()) / 1e6, 1) == 103.7


def test_dm_codec_is_the_same_network(official: SpeechTokenizerCodec):
    assert CONFIGS["dm_codec"] == dataclasses.replace(CONFIGS["speechtokenizer"], licence="Apache-2.0")
    same = OFFICIAL["dm_codec"](golden_weights("speechtokenizer"))
    assert same.name == "dm_codec"
    assert same.weights_hash == official.weights_hash


def test_all_that_does_not_fit_is_in_one_error():
    weights = dict(golden_weights("speechtokenizer"))
    del weights["transform.weight"]
    weights["decoder.model.1.lstm.bias_hh_l0"] = torch.zeros(3)
    with pytest.raises(
        CheckpointError, match=r"1 missing: transform.weight; 1 misshapen: decoder.model.1.lstm.bias_hh_l0 \[3\]"
    ):
        OFFICIAL["speechtokenizer"](weights)


@pytest.mark.parametrize("kind", SMALL)
def test_the_official_package_with_the_same_weights_gives_the_same(kind: str, monkeypatch: pytest.MonkeyPatch):
    package = pytest.importorskip("speechtokenizer", reason="the test compares with the speechtokenizer package, not installed")
    torch.manual_seed(4)
    config = SMALL[kind]
    peer = package.SpeechTokenizer(
        {
            "n_filters": 4, "strides": [4, 2], "dimension": 16, "semantic_dimension": 12, "bidirectional": True,
            "dilation_base": 2, "residual_kernel_size": 3, "n_residual_layers": 1, "lstm_layers": 2, "n_q": 8,
            "activation": {"elu": "ELU", "snake": "Snake"}[kind], "codebook_size": 32, "sample_rate": 16000,
        }
    ).eval()  # fmt: skip
    with torch.no_grad():
        for name, weight in peer.state_dict().items():
            if name.endswith((".embed", "weight_g")):
                weight.normal_(std=0.3) if name.endswith(".embed") else weight.mul_(2)
            if name.endswith("alpha"):
                weight.uniform_(0.5, 2)
    monkeypatch.setitem(speechtokenizer.CONFIGS, "small", config)
    ours, audio = speechtokenizer.convert_speechtokenizer(peer.state_dict(), "small"), noise(999, batch=2)
    with torch.no_grad():
        codes = peer.encode(audio)
        sound = peer.decode(codes)
    codes = codes.transpose(0, 1)
    assert (ours.encode(audio).codes != codes).float().mean() <= 0.001  # near ties
    torch.testing.assert_close(ours.decode(ours.tokens_from_codes(codes)), sound[..., :1000], atol=1e-4, rtol=0)


# -- promises, at a small size ----------------------------------------------------------------------------------


def test_a_saved_codec_codes_alike(codec: SpeechTokenizerCodec, tmp_path):
    check_saved(codec, noise(1000), tmp_path)


@pytest.mark.parametrize("samples", [0, 1, 2, 7, 8, 9, 15, 57, 1001])
def test_every_length_comes_back(codec: SpeechTokenizerCodec, samples: int):
    tokens = check_comes_back(codec, noise(samples))
    assert tokens.codes.shape == (1, 8, -(-samples // HOP))


def test_a_batch_codes_like_its_items(codec: SpeechTokenizerCodec):
    check_batch(codec, noise(1001, batch=5), [1001, 389, 0, 57, 800])


def test_fewer_codebooks_are_a_prefix(codec: SpeechTokenizerCodec):
    whole = codec.encode(noise(999)).codes
    for depth in range(1, 9):
        assert torch.equal(codec.encode(noise(999), codebooks=depth).codes, whole[:, :depth])


def test_audio_that_is_none_is_refused(codec: SpeechTokenizerCodec):
    audio = noise(500)
    audio[0, 0, 300] = float("inf")
    with pytest.raises(AudioError, match="NaN"):
        codec.encode(audio)


def test_a_frame_hears_what_comes_long_after(codec: SpeechTokenizerCodec):
    audio = noise(800).requires_grad_()
    codec.encoder(audio)[..., 10].sum().backward()
    assert audio.grad[0, 0, 400:].any()  # which is why no receptive field is stated


@pytest.mark.parametrize("samples", [5, 900, 4003])
def test_chunks_with_a_window_code_like_the_whole_where_the_lstm_forgets(codec: SpeechTokenizerCodec, samples: int):
    audio = noise(samples)
    tokens = codec.encode(audio)
    encoder, decoder = codec.stream_encoder(), codec.stream_decoder()
    for stream in (encoder, decoder):
        stream.plan.chunk = 100  # frames
    pieces = [encoder.push(piece) for piece in audio.split(333, dim=-1)] + [encoder.flush()]
    codes = torch.cat(pieces, dim=-1)
    assert codes.shape == tokens.codes.shape
    assert (codes != tokens.codes).float().mean() <= 0.001
    sound = torch.cat([*(decoder.push(piece) for piece in tokens.codes.split(70, dim=-1)), decoder.flush(samples)], dim=-1)
    torch.testing.assert_close(sound, codec.decode(tokens), atol=1e-4, rtol=0)  # what two states of an LSTM still differ by


@pytest.mark.parametrize("frames", [25, 36, 37, 121])
def test_long_audio_is_worked_on_in_blocks_with_the_same_result(
    codec: SpeechTokenizerCodec, frames: int, monkeypatch: pytest.MonkeyPatch
):
    audio = noise(frames * HOP - 3)
    with torch.inference_mode():
        latents = codec.encoder(audio)
        sound = codec.decoder(latents)
        monkeypatch.setattr(seanet, "LONG_FRAMES", 12)
        torch.testing.assert_close(codec.encoder(audio), latents, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(codec.decoder(latents), sound, atol=1e-5, rtol=1e-5)


def test_semantic_features_are_the_first_codebooks(codec: SpeechTokenizerCodec):
    codes = codec.encode(noise(400)).codes
    features = codec.semantic_features(codes)
    assert features.shape == (1, 12, 50)
    assert torch.equal(features, codec.semantic_features(codes[:, :1]))
    by_hand = codec.transform(codec.quantizer.codebooks[0][codes[0, 0]])
    torch.testing.assert_close(features[0].T, by_hand)
    with pytest.raises(ShapeError, match="codes must be"):
        codec.semantic_features(codes + 32)
