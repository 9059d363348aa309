"""X-Codec-2: official goldens at full size, transformers' Xcodec2Model with the same weights, quirks, promises of a codec."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import pad

from toneme.codecs.errors import CheckpointError
from toneme.codecs.layers.dac_blocks import DacBlocksConfig
from toneme.codecs.layers.transformer import TransformerConfig
from toneme.codecs.registry import describe, from_official
from toneme.codecs.teachers import Teacher, TeacherConfig, mel_spectra
from toneme.codecs.xcodec2 import ATTENTION, XCodec2, XCodec2Config, convert_xcodec2, prepared

from .official import golden_case, golden_weights
from .promises import check_batch, check_comes_back, check_saved
from .small_teachers import SPECTRAL

transformers = pytest.importorskip("transformers", reason="X-Codec-2 needs transformers: pip install toneme[train]")
HOP = 320
TEACHER = TeacherConfig("wav2vec2-bert", -1, tuple(SPECTRAL.items()))
SMALL = XCodec2Config(
    blocks=DacBlocksConfig(2, (2, 2, 4, 4, 5), 32, activation="alias_free_snake_beta"), semantic=24, teacher=TEACHER,
    transformer=dataclasses.replace(ATTENTION, width=32, heads=4, layers=2, hidden=48), groups=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def codec() -> XCodec2:
    return small()


def small(**changes) -> XCodec2:
    torch.manual_seed(2)
    codec = XCodec2(dataclasses.replace(SMALL, **changes), "small").eval()
    with torch.no_grad():  # default initialisation fades out over so many layers
        for name, weight in codec.named_parameters():
            if weight.ndim > 1 and name.startswith(("encoder", "enter", "quantizer.enter")):
                weight.mul_(2.5)
    return codec


def noise(samples: int, batch: int = 1, seed: int = 0) -> Tensor:
    return torch.randn(batch, 1, samples, generator=torch.Generator().manual_seed(seed)) * 0.3


# -- official weights -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_codes_and_audio_equal_the_official_implementation():
    training_only = {"SemanticDecoder_module.x": torch.zeros(1), "fc_post_s.bias": torch.zeros(1)}
    official = from_official("xcodec2", {"state_dict": golden_weights("xcodec2") | training_only})
    spec = official.spec
    assert (spec.bitrate(), spec.codebook_sizes, spec.receptive_field, spec.licence) == (0.8, (65536,), None, "CC-BY-NC-4.0")
    for name in ("short", "batch2"):
        case = golden_case("xcodec2", name)
        audio, features = torch.from_numpy(case["in_audio"]), torch.from_numpy(case["in_semantic"])
        audio = pad(audio, (0, HOP - audio.shape[-1] % HOP))
        with torch.inference_mode():
            latents = official.latents(audio, features)
            projected = official.quantizer.enter(latents.transpose(1, 2))
            np.testing.assert_allclose(official.encoder(audio)[:, :8], case["acoustic_first8"], atol=2e-4)
        np.testing.assert_allclose(projected, case["projected"], atol=2e-4)
        codes = torch.from_numpy(case["codes"].astype(np.int64))
        with torch.inference_mode():
            found = official.quantizer.encode(latents)
        assert (found != codes).float().mean() <= 0.001
        sound = official.decode(official.tokens_from_codes(codes))
        np.testing.assert_allclose(sound, case["output"], atol=1e-4)  # float32 sums in another order


@pytest.fixture(scope="module")
def peer():
    if not hasattr(transformers, "Xcodec2Model"):
        pytest.skip("the test compares with Xcodec2Model of a newer transformers: pip install -U transformers")
    config, settings = SMALL.transformer, transformers.Wav2Vec2BertConfig(**SPECTRAL)
    torch.manual_seed(5)
    peer = transformers.Xcodec2Model(
        transformers.Xcodec2Config(
            hidden_size=32, intermediate_size=config.hidden, num_hidden_layers=config.layers, num_attention_heads=config.heads,
            num_key_value_heads=config.heads, head_dim=8, encoder_hidden_size=2, quantization_dim=56,
            semantic_model_config=settings,
        )
    ).eval()  # fmt: skip
    with torch.no_grad():
        for name, weight in peer.named_parameters():
            if not name.startswith("semantic_encoder"):
                weight.normal_(std=0.3) if weight.ndim == 1 else weight.mul_(4 if "norm" not in name else 1)
    return peer


def test_transformers_with_the_same_weights_gives_the_same(peer):
    ours = convert_xcodec2(dict(peer.state_dict()), dataclasses.replace(SMALL, groups=32))
    audio = pad(noise(3100), (0, 100))
    assert ours.n_frames(3100) == (10,)
    with torch.no_grad():
        spectra = mel_spectra(pad(audio[:, 0], (160, 160)))
        codes = peer.encode(audio, spectra).audio_codes.long()
        sound = peer.decode(codes).audio_values
    assert (ours.encode(noise(3100)).codes != codes).float().mean() <= 0.001
    torch.testing.assert_close(ours.decode(ours.tokens_from_codes(codes)), sound, atol=1e-4, rtol=1e-4)


def test_a_teacher_of_more_layers_is_cut_to_the_one_that_is_heard():
    big = transformers.Wav2Vec2BertModel(transformers.Wav2Vec2BertConfig(**{**SPECTRAL, "num_hidden_layers": 18}))
    teacher = dataclasses.replace(TEACHER, settings=tuple({**SPECTRAL, "num_hidden_layers": 16}.items()))
    codec = small(teacher=teacher)
    own = {f"semantic_model.{name}": tensor for name, tensor in big.state_dict().items()}
    others, kept = prepared({"fc_prior.bias": torch.zeros(1), **own})
    assert others.keys() == {"fc_prior.bias"}
    assert {name.removeprefix("semantic_model.") for name in kept} == set(codec.teacher.model.state_dict())


def test_all_that_does_not_fit_is_in_one_error(codec: XCodec2):
    with pytest.raises(CheckpointError, match=r"missing: .*1 unexpected: else"):
        convert_xcodec2({"else": torch.zeros(1)}, dataclasses.replace(SMALL, teacher=None))


# -- quirks -----------------------------------------------------------------------------------------------------


def test_the_quantizer_bounds_twice(codec: XCodec2):
    latents = torch.randn(1, 56, 40)
    once = small(double_bound=False).quantizer
    once.load_state_dict(codec.quantizer.state_dict())
    z = codec.quantizer.enter(latents.transpose(1, 2))
    half, offset = 3 * 1.001 / 2, 0.5
    shift = np.arctanh(offset / half)
    for number in range(2):  # by hand, from vector-quantize-pytorch 1.17's formula
        z = (z + shift).tanh() * half - offset
        if number == 0:
            single = ((z.round() + 2).long() * 4 ** torch.arange(8)).sum(-1)
    double = ((z.round() + 2).long() * 4 ** torch.arange(8)).sum(-1)
    assert torch.equal(codec.quantizer.encode(latents)[:, 0], double)
    assert torch.equal(once.encode(latents)[:, 0], single)
    assert (single != double).any()


def test_rotation_by_head_changes_nothing(codec: XCodec2):
    turned = small(transformer=dataclasses.replace(SMALL.transformer, positions="head"))
    turned.load_state_dict(codec.state_dict())
    x = torch.randn(2, 30, 32)
    with torch.inference_mode():
        torch.testing.assert_close(turned.backbone(x), codec.backbone(x), atol=1e-5, rtol=1e-5)


def test_the_residual_is_rectified(codec: XCodec2):
    plain = small(relu_residual=False).semantic_encoder
    plain.load_state_dict(codec.semantic_encoder.state_dict())
    x = torch.randn(1, 24, 9)
    with torch.inference_mode():
        inner = codec.semantic_encoder.first(x)
        expected = codec.semantic_encoder.last(inner - inner.relu())
        torch.testing.assert_close(plain(x) - codec.semantic_encoder(x), expected, atol=1e-6, rtol=1e-5)


def test_a_frame_is_always_added(codec: XCodec2):
    assert [codec.n_frames(n)[0] for n in (0, 1, 319, 320, 321)] == [0, 1, 1, 2, 2]
    assert [small(always_pads=False).n_frames(n)[0] for n in (0, 1, 319, 320, 321)] == [0, 1, 1, 1, 2]


# -- the semantic model -----------------------------------------------------------------------------------------


def test_a_codec_without_its_teacher_borrows_one(codec: XCodec2, tmp_path, monkeypatch):
    alone, teacher = small(teacher=None), codec.teacher
    weights = {name: tensor for name, tensor in codec.state_dict().items() if not name.startswith("teacher.")}
    alone.load_state_dict(weights)
    alone.use_teacher(teacher)
    assert torch.equal(alone.encode(noise(4000)).codes, codec.encode(noise(4000)).codes)
    alone.save(tmp_path)
    again = XCodec2.from_folder(tmp_path)
    assert not [name for name in again.state_dict() if name.startswith("teacher.")]
    asked = []
    monkeypatch.setattr("toneme.codecs.xcodec2.load_teacher", lambda *given: asked.append(given) or teacher)
    for _ in range(2):
        assert torch.equal(again.encode(noise(4000)).codes, codec.encode(noise(4000)).codes)
    assert asked == [("w2v-bert", 16)]
    tokens = codec.encode(noise(4000))
    torch.testing.assert_close(again.decode(tokens, any_weights=True), codec.decode(tokens))


# -- promises, at a small size ----------------------------------------------------------------------------------


def test_a_saved_codec_codes_alike_and_is_described_without_its_weights(codec: XCodec2, tmp_path):
    check_saved(codec, noise(4000), tmp_path)
    about = describe(tmp_path)
    assert (about.family, about.spec, about.name) == ("xcodec2", codec.spec, "small")
    assert about.parameters == sum(weight.numel() for weight in codec.parameters())


@pytest.mark.parametrize("samples", [0, 1, 319, 320, 3999])
def test_every_length_comes_back(codec: XCodec2, samples: int):
    tokens = check_comes_back(codec, noise(samples))
    assert tokens.codes.shape == (1, 1, samples // HOP + 1 if samples else 0)


def test_a_batch_codes_like_its_items(codec: XCodec2):
    check_batch(codec, noise(4001, batch=4), [4001, 389, 0, 3520])


@pytest.mark.parametrize("samples", [100, 20001, 57600])
def test_a_stream_codes_like_the_whole(codec: XCodec2, samples: int):
    short = XCodec2(dataclasses.replace(SMALL, chunk=1.0, window=6400), "small").eval()
    short.load_state_dict(codec.state_dict())
    tokens = short.encode(noise(samples))
    encoder, decoder = short.stream_encoder(), short.stream_decoder()
    pieces = [encoder.push_tokens(piece) for piece in noise(samples).split(5001, dim=-1)] + [encoder.flush_tokens()]
    assert torch.equal(torch.cat([piece.codes for piece in pieces], dim=-1), tokens.codes)
    sound = torch.cat([*(decoder.push(piece) for piece in tokens.codes.split(7, dim=-1)), decoder.flush(samples)], dim=-1)
    torch.testing.assert_close(sound, short.decode(tokens), atol=1e-6, rtol=0)
    assert {piece.metadata["window"] for piece in [*pieces, tokens]} == {"chunk=16000 context=6400"}


def test_positions_of_frames_are_refused_where_every_frame_sees_all():
    with pytest.raises(CheckpointError, match="positions must be head or none"):
        TransformerConfig(causal=False)


def test_a_borrowed_teacher_is_frozen_and_no_part_of_the_codec(codec: XCodec2):
    alone = small(teacher=None)
    alone.use_teacher(Teacher.from_config(TEACHER))
    assert len(list(alone.children())) == len(list(codec.children())) - 1


def test_half_precision_codes_mostly_alike_and_sounds_alike(codec: XCodec2):
    half, tokens = copy.deepcopy(codec).bfloat16(), codec.encode(noise(8000))
    assert (half.encode(noise(8000)).codes == tokens.codes).float().mean() > 0.7
    sound = half.decode(half.tokens_from_codes(tokens.codes, 8000))
    expected = codec.decode(tokens)
    assert (sound - expected).norm() < 0.1 * expected.norm()
