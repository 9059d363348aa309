"""X-Codec: official goldens at full size, transformers' XcodecModel with the same weights, and the promises of a codec."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from toneme.codecs import xcodec
from toneme.codecs.errors import CheckpointError, ShapeError
from toneme.codecs.layers.dac_blocks import DacBlocksConfig
from toneme.codecs.registry import describe, from_official
from toneme.codecs.teachers import TeacherConfig
from toneme.codecs.xcodec import CONFIGS, XCodec, XCodecConfig

from .official import check_codes, golden_case, golden_weights
from .promises import check_batch, check_comes_back, check_saved
from .small_teachers import SETTINGS

transformers = pytest.importorskip("transformers", reason="X-Codec needs transformers: pip install toneme[train]")
HOP = 320
BLOCKS = DacBlocksConfig(4, (8, 5, 4, 2), 16, 64, up_strides=(8, 5, 4, 2), tanh=False)
SMALL = XCodecConfig(blocks=BLOCKS, teacher=TeacherConfig("hubert", None, tuple(SETTINGS.items())), codebook_size=64)
CASES = {
    "hubert": SMALL,
    "wavlm": dataclasses.replace(SMALL, teacher=TeacherConfig("wavlm", None, tuple(SETTINGS.items()))),
}


@pytest.fixture(scope="module")
def official() -> XCodec:
    return from_official("xcodec-hubert-general", {**golden_weights("xcodec_hubert_general"), "stray": object()})


@pytest.fixture(scope="module", params=CASES)
def codec(request: pytest.FixtureRequest) -> XCodec:
    return small(CASES[request.param])


def small(config: XCodecConfig) -> XCodec:
    torch.manual_seed(2)
    codec = XCodec(config, "small").eval()
    codec.quantizer.codebooks.normal_(std=0.3)
    with torch.no_grad():  # default initialisation fades out over so many layers
        for name, weight in codec.named_parameters():
            if weight.ndim == 3 and name.startswith(("encoder", "semantic_encoder")):
                weight.mul_(2.0)
    return codec


def noise(samples: int, batch: int = 1, seed: int = 0) -> Tensor:
    return torch.randn(batch, 1, samples, generator=torch.Generator().manual_seed(seed)) * 0.3


# -- official weights -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["short", "mismatch", "batch2"])
def test_codes_and_audio_equal_the_official_implementation(official: XCodec, case: str):
    case = golden_case("xcodec_hubert_general", case)
    codes = case["codes"].transpose(1, 0, 2)
    tokens = official.encode(torch.from_numpy(case["in_audio"]), codebooks=codes.shape[1])
    check_codes(tokens.codes, codes, case["margin"])
    codes = torch.from_numpy(codes.copy()).long()
    audio = official.decode(official.tokens_from_codes(codes))
    np.testing.assert_allclose(audio, case["output"], atol=1e-4)  # float32 sums in another order
    np.testing.assert_allclose(official.semantic_features(codes)[:, :8], case["semantic_out_first8"], atol=1e-4)


def test_latents_and_features_equal_the_official_implementation(official: XCodec):
    case = golden_case("xcodec_hubert_general", "short")
    audio = torch.from_numpy(case["in_audio"])
    with torch.inference_mode():
        np.testing.assert_allclose(official.teacher(audio[:, 0]), case["semantic"], atol=2e-4)
        np.testing.assert_allclose(official.latents(audio), case["latents"], atol=2e-4)


@pytest.mark.slow
def test_a_wavlm_teacher_equals_the_official_implementation():
    codec = from_official("xcodec-wavlm-mls", golden_weights.__wrapped__("xcodec_wavlm"))
    case = golden_case("xcodec_wavlm", "short")
    with torch.inference_mode():
        audio = torch.from_numpy(case["in_audio"])
        np.testing.assert_allclose(codec.teacher(audio[:, 0]), case["semantic"], atol=2e-4)
        np.testing.assert_allclose(codec.latents(audio), case["latents"], atol=2e-4)
    for name in ("short", "mismatch", "batch2"):
        case = golden_case("xcodec_wavlm", name)
        codes = case["codes"].transpose(1, 0, 2)
        check_codes(codec.encode(torch.from_numpy(case["in_audio"])).codes, codes, case["margin"])
        codes = torch.from_numpy(codes.copy()).long()
        np.testing.assert_allclose(codec.decode(codec.tokens_from_codes(codes)), case["output"], atol=1e-4)
        np.testing.assert_allclose(codec.semantic_features(codes)[:, :8], case["semantic_out_first8"], atol=1e-4)


def test_numbers_are_the_papers(official: XCodec):
    spec = official.spec
    assert (spec.sample_rate, spec.frame_rate, spec.codebooks, spec.bitrate()) == (16000, 50, 8, 4.0)
    assert [spec.codebooks_for(kbps) for kbps in (0.5, 1, 1.5, 2, 4)] == [1, 2, 3, 4, 8]
    assert (spec.causal, spec.receptive_field) == (False, None)
    own = sum(weight.numel() for name, weight in official.named_parameters() if not name.startswith("teacher"))
    own += official.quantizer.codebooks.numel()
    assert round(own / 1e6, 1) == pytest.approx(66.3 + 8.4, abs=0.3)  # the paper's 66.3 M do not count the codebooks


def test_all_that_does_not_fit_is_in_one_error(official: XCodec):
    weights = dict(golden_weights("xcodec_hubert_general"))
    del weights["semantic_model.encoder.layers.3.attention.q_proj.bias"]
    weights["fc_prior.bias"] = torch.zeros(3)
    weights["extra"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as error:
        xcodec.load(official, weights, "this")
    assert "1 missing: semantic_model.encoder.layers.3.attention.q_proj.bias" in str(error.value)
    assert "1 unexpected: extra" in str(error.value)
    assert "1 misshapen: fc_prior.bias [3] (expected [1024])" in str(error.value)


def peer_of(config: XCodecConfig):
    kind = {"hubert": transformers.HubertConfig, "wavlm": transformers.WavLMConfig}[config.teacher.kind]
    blocks = config.blocks
    acoustic = {
        "encoder_hidden_size": blocks.width, "downsampling_ratios": list(blocks.strides), "hidden_size": blocks.latent,
        "decoder_hidden_size": blocks.decoder_width, "upsampling_ratios": list(blocks.ups),
    }  # fmt: skip
    bits = config.codebook_size.bit_length() - 1
    torch.manual_seed(5)
    peer = transformers.XcodecModel(
        transformers.XcodecConfig(
            target_bandwidths=[0.05 * bits, 0.05 * bits * config.codebooks], codebook_size=config.codebook_size,
            acoustic_model_config=transformers.DacConfig(**acoustic), semantic_model_config=kind(**SETTINGS),
        )
    ).eval()  # fmt: skip
    with torch.no_grad():
        for name, weight in peer.state_dict().items():
            if name.endswith(("embed", "alpha")) or (weight.ndim == 3 and "semantic_model" not in name):
                weight.normal_(std=0.3) if weight.ndim < 3 else weight.uniform_(0.5, 1.5) if "alpha" in name else weight.mul_(2)
    return peer


@pytest.mark.parametrize("old_weight_norm", [False, True])
@pytest.mark.parametrize("kind", CASES)
def test_transformers_with_the_same_weights_gives_the_same(kind: str, old_weight_norm: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(xcodec.CONFIGS, "small", CASES[kind])
    peer, audio = peer_of(CASES[kind]), noise(4000, batch=2)
    weights = dict(peer.state_dict())
    if old_weight_norm:
        for i, end in enumerate("gv"):
            stem = "semantic_model.encoder.pos_conv_embed.conv."
            weights[f"{stem}weight_{end}"] = weights.pop(f"{stem}parametrizations.weight.original{i}")
    ours = xcodec.convert_xcodec(weights, "small")
    with torch.no_grad():
        codes = peer.encode(audio, return_dict=False)
        sound = peer.decode(codes, return_dict=False)
    assert (ours.encode(audio).codes != codes).float().mean() <= 0.001  # near ties
    torch.testing.assert_close(ours.decode(ours.tokens_from_codes(codes)), sound, atol=1e-4, rtol=1e-4)


def test_every_published_model_has_its_name():
    assert {name for name in CONFIGS if "wavlm" in name} == {"xcodec_wavlm_mls", "xcodec_wavlm_more_data"}
    assert len([name for name in CONFIGS if "hubert" in name]) == 3
    assert all((config.teacher.kind == "wavlm") == ("wavlm" in name) for name, config in CONFIGS.items())


# -- promises, at a small size ----------------------------------------------------------------------------------


def test_a_saved_codec_codes_alike_and_is_described_without_its_weights(codec: XCodec, tmp_path):
    check_saved(codec, noise(4000), tmp_path)
    about = describe(tmp_path)
    assert (about.family, about.spec, about.name) == ("xcodec", codec.spec, "small")
    assert about.parameters == sum(weight.numel() for weight in codec.parameters())


@pytest.mark.parametrize("samples", [0, 1, 79, 80, 311, 312, 320, 399, 400, 3999])
def test_every_length_comes_back(codec: XCodec, samples: int):
    tokens = check_comes_back(codec, noise(samples))
    assert tokens.codes.shape == (1, 8, (samples + 240) // HOP)


def test_a_batch_codes_like_its_items(codec: XCodec):
    check_batch(codec, noise(4001, batch=5), [4001, 389, 0, 70, 3520])


def test_fewer_codebooks_are_a_prefix(codec: XCodec):
    whole = codec.encode(noise(4000)).codes
    for depth in range(1, 9):
        assert torch.equal(codec.encode(noise(4000), codebooks=depth).codes, whole[:, :depth])


def test_a_frame_hears_what_comes_long_after(codec: XCodec):
    other = noise(40 * HOP)
    other[..., 30 * HOP :] = 0
    with torch.inference_mode():
        first = codec.latents(noise(40 * HOP))[..., 2] - codec.latents(other)[..., 2]
    assert first.abs().max() > 1e-6  # which is why no receptive field is stated


def test_acoustic_frames_move_where_the_teacher_finds_one_more(codec: XCodec):
    # 12 frames of the teacher, 11 of the acoustic encoder: the published code shifts the audio by half a frame
    audio, still = noise(11 * HOP + 100), XCodec(dataclasses.replace(codec.config, moves_acoustic=False)).eval()
    still.load_state_dict(codec.state_dict())
    assert (codec.encode(audio).codes != still.encode(audio).codes).float().mean() > 0.2
    aligned = noise(11 * HOP)
    assert torch.equal(codec.encode(aligned).codes, still.encode(aligned).codes)


@pytest.mark.parametrize("samples", [100, 7000, 20001, 64000, 71100])
def test_a_stream_codes_like_the_whole(codec: XCodec, samples: int):
    short = XCodec(dataclasses.replace(codec.config, chunk=1.0, window=6400), "small").eval()
    short.load_state_dict(codec.state_dict())
    tokens = short.encode(noise(samples))
    encoder, decoder = short.stream_encoder(), short.stream_decoder()
    pieces = [encoder.push_tokens(piece) for piece in noise(samples).split(5001, dim=-1)] + [encoder.flush_tokens()]
    assert torch.equal(torch.cat([piece.codes for piece in pieces], dim=-1), tokens.codes)
    decoder.plan.chunk = 30  # frames
    sound = torch.cat([*(decoder.push(piece) for piece in tokens.codes.split(7, dim=-1)), decoder.flush(samples)], dim=-1)
    torch.testing.assert_close(sound, short.decode(tokens), atol=1e-5, rtol=1e-5)
    assert {piece.metadata["window"] for piece in [*pieces, tokens]} == {"chunk=16000 context=6400"}


def test_windows_cost_few_codes(codec: XCodec):
    short = XCodec(dataclasses.replace(codec.config, chunk=1.0, window=16000), "small").eval()
    short.load_state_dict(codec.state_dict())
    whole, chunked = codec.encode(noise(64000)).codes, short.encode(noise(64000)).codes
    assert (whole != chunked).float().mean() < 0.2  # norms and attention over other audio, under noise and random weights


def test_semantic_features_are_the_teachers_size(codec: XCodec):
    codes = codec.encode(noise(4000)).codes
    assert codec.semantic_features(codes).shape == (1, 24, 13)
    with pytest.raises(ShapeError, match="codes must be"):
        codec.semantic_features(codes + 64)


def test_half_precision_codes_mostly_alike_and_sounds_alike(codec: XCodec):
    half, tokens = copy.deepcopy(codec).bfloat16(), codec.encode(noise(8000))
    assert (half.encode(noise(8000)).codes == tokens.codes).float().mean() > 0.7
    sound = half.decode(half.tokens_from_codes(tokens.codes, 8000))
    expected = codec.decode(tokens)
    assert (sound - expected).norm() < 0.1 * expected.norm()
