"""WavTokenizer: the official model's goldens at full size, and the promises of a codec at a small size."""

import numpy as np
import pytest
import torch
from torch import Tensor

from toneme.codecs.errors import AudioError, CheckpointError
from toneme.codecs.layers.seanet import SEANetConfig
from toneme.codecs.layers.vocos import VocosConfig
from toneme.codecs.registry import from_official
from toneme.codecs.wavtokenizer import CONFIGS, OFFICIAL, WavTokenizerCodec, WavTokenizerConfig

from .official import check_codes, golden_case, golden_weights
from .promises import check_batch, check_comes_back, check_saved

HOP = 8
SMALL = WavTokenizerConfig(
    seanet=SEANetConfig(filters=4, dimension=16, ratios=(4, 2), causal=False),
    codebook_size=32,
    vocos=VocosConfig(inputs=16, width=16, hidden=32, layers=2, groups=4, window=32, hop=HOP),
    chunk=100 * HOP / 24000,
    window=20 * HOP,
)


@pytest.fixture(scope="module")
def codec() -> WavTokenizerCodec:
    torch.manual_seed(3)
    codec = WavTokenizerCodec(SMALL, "small").eval()
    codec.quantizer.codebooks.normal_(std=0.3)
    with torch.no_grad():  # default initialisation fades out over so many layers
        for name, weight in codec.encoder.named_parameters():
            if name.endswith("weight") and weight.ndim == 3:
                weight.mul_(2.0)
    return codec


@pytest.fixture(scope="module")
def official() -> WavTokenizerCodec:
    return OFFICIAL["wavtokenizer_75"](golden_weights("wavtokenizer_75"))


def noise(samples: int, batch: int = 1, seed: int = 0) -> Tensor:
    return torch.randn(batch, 1, samples, generator=torch.Generator().manual_seed(seed)) * 0.3


# -- official weights -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["short", "batch2"])
def test_codes_and_audio_equal_the_official_implementation(official: WavTokenizerCodec, case: str):
    case = golden_case("wavtokenizer_75", case)
    codes = case["codes"].transpose(1, 0, 2)
    tokens = official.encode(torch.from_numpy(case["in_audio"]).unsqueeze(1))
    check_codes(tokens.codes, codes, case["margin"])
    audio = official.decode(official.tokens_from_codes(torch.from_numpy(codes).long()))
    np.testing.assert_allclose(audio[:, 0], case["output"], atol=1e-4)  # float32 sums in another order


def test_latents_and_features_equal_the_official_implementation(official: WavTokenizerCodec):
    case = golden_case("wavtokenizer_75", "short")
    audio, codes = torch.from_numpy(case["in_audio"]).unsqueeze(1), torch.from_numpy(case["codes"].transpose(1, 0, 2)).long()
    with torch.inference_mode():
        np.testing.assert_allclose(official.encoder(audio), case["latents"], atol=2e-4)
        features = official.backbone(official.quantizer.decode(codes))
    np.testing.assert_allclose(features[..., :8], case["backbone_first8"], atol=2e-4)
    # with gradients the layers take torch's own convolutions
    np.testing.assert_allclose(official.encoder(audio).detach(), case["latents"], atol=2e-4)


def test_a_lightning_checkpoint_loads(official: WavTokenizerCodec, tmp_path):
    weights = golden_weights("wavtokenizer_75") | {"multiperioddisc.discriminators.0.convs.0.bias": torch.zeros(4)}
    torch.save(
        {"epoch": 3, "global_step": 7, "state_dict": weights, "hyper_parameters": {"sample_rate": 24000}}, tmp_path / "w.ckpt"
    )
    assert from_official("wavtokenizer-75", tmp_path / "w.ckpt").weights_hash == official.weights_hash


def test_all_that_does_not_fit_is_in_one_error():
    weights = dict(golden_weights("wavtokenizer_75"))
    del weights["backbone.pos_net.2.q.weight"]
    weights["head.out.bias"] = torch.zeros(3)
    weights["backbone.pos_net.9.bias"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as error:
        OFFICIAL["wavtokenizer_75"](weights)
    for part in ("1 missing: backbone.pos_net.2.q.weight", "1 unexpected: backbone.pos_net.9.bias", "[3] (expected [1282])"):
        assert part in str(error.value)


@pytest.mark.parametrize(("name", "rate", "kbps"), [("wavtokenizer_75", 75, 0.9), ("wavtokenizer_large_unify_40", 40, 0.48)])
def test_numbers_are_the_papers(name: str, rate: int, kbps: float):
    with torch.device("meta"):
        codec = WavTokenizerCodec(CONFIGS[name], name)
        audio = codec._decode((torch.zeros(1, 1, 3, dtype=torch.int64),), {}, 0)
    spec = codec.spec
    assert (spec.frame_rate, spec.bitrate(), spec.codebooks, spec.licence) == (rate, kbps, 1, "MIT")
    assert (spec.causal, spec.receptive_field) == (False, None)
    assert audio.shape == (1, 1, 3 * 24000 // rate)


def test_the_slower_rate_equals_the_official_implementation(tmp_path):
    torch.save({"epoch": 3, "state_dict": golden_weights.__wrapped__("wavtokenizer_40")}, tmp_path / "w.ckpt")
    codec = from_official("wavtokenizer-large-unify-40", tmp_path / "w.ckpt")
    for case in ("short", "batch2"):
        case = golden_case("wavtokenizer_40", case)
        codes = case["codes"].transpose(1, 0, 2)
        check_codes(codec.encode(torch.from_numpy(case["in_audio"]).unsqueeze(1)).codes, codes, case["margin"])
        decoded = codec.quantizer.decode(torch.from_numpy(codes).long())
        with torch.inference_mode():
            np.testing.assert_allclose(codec.backbone(decoded)[..., :8], case["backbone_first8"], atol=2e-4)
        audio = codec.decode(codec.tokens_from_codes(torch.from_numpy(codes).long()))
        np.testing.assert_allclose(audio[:, 0], case["output"], atol=1e-4)  # float32 sums in another order


# -- promises, at a small size ----------------------------------------------------------------------------------


def test_a_saved_codec_codes_alike(codec: WavTokenizerCodec, tmp_path):
    check_saved(codec, noise(1000), tmp_path)


@pytest.mark.parametrize("samples", [0, 1, 2, 7, 8, 9, 15, 57, 1001])
def test_every_length_comes_back(codec: WavTokenizerCodec, samples: int):
    tokens = check_comes_back(codec, noise(samples))
    assert tokens.codes.shape == (1, 1, -(-samples // HOP))


def test_a_batch_codes_like_its_items(codec: WavTokenizerCodec):
    check_batch(codec, noise(1001, batch=5), [1001, 389, 0, 57, 800], rtol=1e-5)


def test_audio_that_is_none_is_refused(codec: WavTokenizerCodec):
    audio = noise(500)
    audio[0, 0, 300] = float("inf")
    with pytest.raises(AudioError, match="NaN"):
        codec.encode(audio)


@pytest.mark.parametrize("samples", [5, 900, 4003])
def test_chunks_with_a_window_code_like_the_whole_where_the_lstm_forgets(codec: WavTokenizerCodec, samples: int):
    audio, encoder = noise(samples), codec.stream_encoder()
    codes = torch.cat([*(encoder.push(piece) for piece in audio.split(333, dim=-1)), encoder.flush()], dim=-1)
    whole = codec.encode(audio).codes
    assert codes.shape == whole.shape
    assert (codes != whole).float().mean() <= 0.002


def test_chunks_sound_for_all_their_frames_whatever_the_pieces(codec: WavTokenizerCodec):
    codes, heard = codec.encode(noise(4003)).codes, []
    for size in (1, 70, 999):
        decoder = codec.stream_decoder()
        pieces = [decoder.push(piece) for piece in codes.split(size, dim=-1)]
        heard.append(torch.cat([*pieces, decoder.flush(4003)], dim=-1))
        assert heard[-1].shape == (1, 1, 4003)
    torch.testing.assert_close(heard[0], heard[1], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(heard[0], heard[2], atol=1e-6, rtol=1e-5)


def test_a_decoder_for_other_frames_is_refused():
    with pytest.raises(CheckpointError, match="frames must be the decoder's"):
        WavTokenizerConfig(vocos=VocosConfig(window=2400, hop=600))
