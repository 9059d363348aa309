"""Mimi: the official model's goldens at full size, transformers and moshi with the same weights, a codec's promises."""

import os
import re

import numpy as np
import pytest
import torch
from torch import Tensor

from toneme.codecs import mimi
from toneme.codecs.errors import AudioError, CheckpointError
from toneme.codecs.layers.seanet import SEANetConfig
from toneme.codecs.layers.transformer import TransformerConfig
from toneme.codecs.mimi import OFFICIAL, MimiCodec, MimiConfig

from .official import check_codes, golden_case, golden_weights
from .promises import check_batch, check_comes_back, check_saved

slow = pytest.mark.slow
HOP, CONTEXT = 32, 20
SMALL = MimiConfig(
    seanet=SEANetConfig(
        dimension=64, filters=4, ratios=(2, 2, 2, 2), last_kernel=3, pad_mode="constant", true_skip=True, lstm=0
    ),
    transformer=TransformerConfig(width=64, heads=4, layers=2, hidden=128, context=CONTEXT),
    codebooks=6,
    codebook_size=64,
    code_width=16,
)  # fmt: skip


@pytest.fixture(scope="module")
def codec() -> MimiCodec:
    torch.manual_seed(3)
    codec = MimiCodec(SMALL, "small").eval()
    with torch.no_grad():  # default initialisation fades out over so many layers
        for name, weight in codec.named_parameters():
            if name.endswith("weight") and weight.ndim == 3:
                weight.mul_(2.0)
            if ".scale" in name:
                weight.fill_(0.5)
    return codec


@pytest.fixture(scope="module")
def official() -> MimiCodec:
    return OFFICIAL["mimi"](golden_weights("mimi"))


def noise(samples: int, batch: int = 1, seed: int = 0) -> Tensor:
    return torch.randn(batch, 1, samples, generator=torch.Generator().manual_seed(seed)) * 0.3


def split(total: int, largest: int, seed: int) -> list[int]:
    generator, sizes = torch.Generator().manual_seed(seed), []
    while sum(sizes) < total:
        sizes.append(min(total - sum(sizes), int(torch.randint(0, largest, (), generator=generator))))
    return sizes


# -- official weights -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "case", ["short", "32cb", pytest.param("ctx", marks=slow)]
)  # "ctx" is longer than the window of attention
def test_codes_and_audio_equal_the_official_implementation(official: MimiCodec, case: str):
    case = golden_case("mimi", case)
    tokens = official.encode(torch.from_numpy(case["in_audio"]), codebooks=int(case["in_num_codebooks"]))
    check_codes(tokens.codes, case["codes"], case["margin"])
    audio = official.decode(official.tokens_from_codes(torch.from_numpy(case["codes"]).long()))
    expected = case.get("output", case.get("output_tail"))
    np.testing.assert_allclose(audio[..., -expected.shape[-1] :], expected, atol=1e-4)  # float32 sums in another order


def test_latents_equal_the_official_implementation(official: MimiCodec):
    case = golden_case("mimi", "short")
    audio = torch.nn.functional.pad(torch.from_numpy(case["in_audio"]), (0, -case["in_audio"].shape[-1] % 1920))
    with torch.inference_mode():
        latents, _ = official.latents_step(audio, official.encoder_state(1))
    np.testing.assert_allclose(latents, case["latents"], atol=2e-4)
    # with gradients the layers take torch's own convolutions
    latents, _ = official.latents_step(audio, official.encoder_state(1))
    np.testing.assert_allclose(latents.detach(), case["latents"], atol=2e-4)


def test_streams_equal_the_official_implementation(official: MimiCodec):
    case = golden_case("mimi", "short")
    encoder, decoder = official.stream_encoder(codebooks=8), official.stream_decoder()
    codes = [encoder.push(piece) for piece in torch.from_numpy(case["in_audio"]).split(700, dim=-1)] + [encoder.flush()]
    np.testing.assert_array_equal(torch.cat(codes, dim=-1), case["codes"])
    audio = torch.cat([decoder.push(piece) for piece in codes], dim=-1)
    np.testing.assert_allclose(audio, case["output"], atol=1e-4)


def test_numbers_are_the_papers(official: MimiCodec):
    spec = official.spec
    assert (spec.sample_rate, spec.frame_rate, spec.codebooks, spec.latency) == (24000, 12.5, 32, 1920)
    assert (spec.bitrate(8), spec.roles[:2], spec.licence) == (1.1, ("semantic", "acoustic"), "CC-BY-4.0")
    assert sum(weight.numel() for weight in official.parameters()) == 79_308_609


def moshi_module(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names that moshi's module has in memory."""
    return {
        name.replace("in_proj_weight", "in_projs.0.weight").replace("out_proj.w", "out_projs.0.w"): w
        for name, w in weights.items()
    }


def older(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names that codebooks had before."""
    renamed = {}
    for name, tensor in weights.items():
        for new, old in (("_initialized", "inited"), ("cluster_usage", "cluster_size"), ("embedding_sum", "embed_avg")):
            name = name.replace(f"_codebook.{new}", f"_codebook.{old}")
        renamed[name] = tensor
    return renamed


@pytest.mark.parametrize("spelling", [moshi_module, pytest.param(older, marks=slow)])
def test_every_spelling_of_the_weights_gives_the_same_codec(official: MimiCodec, spelling):
    expected = official.state_dict()
    loaded = OFFICIAL["mimi"](spelling(golden_weights("mimi"))).state_dict()
    assert all(torch.equal(loaded[key], expected[key]) for key in expected)


def test_all_that_does_not_fit_is_in_one_error():
    weights = dict(golden_weights("mimi"))
    del weights["encoder_transformer.transformer.layers.3.linear1.weight"]
    weights["downsample.conv.conv.conv.weight"] = torch.zeros(3)
    weights["decoder.model.99.bias"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as error:
        OFFICIAL["mimi"](weights)
    for part in (
        "1 missing: encoder_transformer.transformer.layers.3.linear1",
        "1 unexpected: decoder.model.99.bias",
        "[3] (expected",
    ):
        assert part in str(error.value)


def transformers_model():
    """Return transformers' model at the small size, with random weights."""
    transformers = pytest.importorskip("transformers", reason="the test compares with transformers' own Mimi")
    torch.manual_seed(5)
    model = transformers.MimiModel(
        transformers.MimiConfig(
            hidden_size=64, num_filters=4, upsampling_ratios=[2, 2, 2, 2], sliding_window=CONTEXT, codebook_size=64,
            codebook_dim=16, vector_quantization_hidden_dimension=16, num_quantizers=6, num_attention_heads=4,
            num_key_value_heads=4, num_hidden_layers=2, intermediate_size=128, upsample_groups=64, frame_rate=750,
        )
    ).eval()  # fmt: skip
    with torch.no_grad():
        for name, weight in model.state_dict().items():
            if name.endswith("embed_sum"):
                weight.normal_()
            if name.endswith("cluster_usage"):
                weight.uniform_(0.5, 2)
            if name.endswith("scale"):
                weight.fill_(0.5)
            if "transformer" in name and weight.ndim == 2:
                weight.normal_(std=0.2)
    return model


@pytest.mark.parametrize("spelling", ["module", "file"])
def test_transformers_model_with_the_same_weights_gives_the_same(monkeypatch: pytest.MonkeyPatch, spelling: str):
    model, audio = transformers_model(), noise(HOP * 3 * CONTEXT, batch=2)  # six times what attention sees
    weights = model.state_dict()
    if spelling == "file":  # the published file has no halves above its parts
        weights = {
            re.sub(r"^(en|de)coder\.((en|de)coder_transformer|upsample|downsample)", r"\2", name): w
            for name, w in weights.items()
        }
        weights = {re.sub(r"^(en|de)coder\.(en|de)coder_seanet", r"\1coder", name): w for name, w in weights.items()}
    monkeypatch.setitem(mimi.CONFIGS, "small", SMALL)
    ours = mimi.convert_mimi(weights, "small")
    with torch.inference_mode():
        codes = model.encode(audio, num_quantizers=6).audio_codes
        sound = model.decode(codes).audio_values
    tokens = ours.encode(audio)
    assert (tokens.codes != codes).float().mean() <= 0.001  # near ties
    atol = 1e-5 * float(sound.abs().max())  # made weights are loud
    torch.testing.assert_close(ours.decode(ours.tokens_from_codes(codes)), sound, atol=atol, rtol=0)


@slow
def test_moshi_with_the_same_weights_gives_the_same():
    os.environ.setdefault("NO_TORCH_COMPILE", "1")
    loaders = pytest.importorskip(
        "moshi.models.loaders", reason="the test compares with the moshi package, which is not installed"
    )
    torch.manual_seed(6)
    model, audio = loaders.get_mimi(None, num_codebooks=32).eval(), noise(1920 * 6)
    with torch.no_grad():
        for name, weight in model.state_dict().items():
            if name.endswith("embedding_sum"):
                weight.normal_()
    ours = mimi.convert_mimi(model.state_dict())
    for depth in (8, 32):
        model.set_num_codebooks(depth)
        with torch.inference_mode():
            codes = model.encode(audio)
            sound = model.decode(codes)
        assert (ours.encode(audio, codebooks=depth).codes != codes).float().mean() <= 0.001  # near ties
        torch.testing.assert_close(ours.decode(ours.tokens_from_codes(codes)), sound, atol=1e-4, rtol=0)


# -- promises, at a small size ----------------------------------------------------------------------------------


def test_a_saved_codec_codes_alike(codec: MimiCodec, tmp_path):
    check_saved(codec, noise(1000), tmp_path)


@pytest.mark.parametrize("samples", [0, 1, 2, 31, 32, 33, 1001, HOP * (2 * CONTEXT + 3)])
def test_every_length_comes_back(codec: MimiCodec, samples: int):
    tokens = check_comes_back(codec, noise(samples))
    assert tokens.codes.shape == (1, 6, -(-samples // HOP))


def test_a_batch_codes_like_its_items(codec: MimiCodec):
    check_batch(codec, noise(2001, batch=5), [2001, 389, 0, 57, 1600])


def test_fewer_codebooks_are_a_prefix(codec: MimiCodec):
    whole = codec.encode(noise(999)).codes
    for depth in range(1, 7):
        assert torch.equal(codec.encode(noise(999), codebooks=depth).codes, whole[:, :depth])


def test_any_depth_decodes(codec: MimiCodec):
    codes = codec.encode(noise(999)).codes
    heard = [codec.decode(codec.tokens_from_codes(codes[:, :depth])) for depth in range(1, 7)]
    assert all(torch.isfinite(audio).all() for audio in heard)
    assert not torch.equal(heard[0], heard[1])


def test_audio_that_is_none_is_refused(codec: MimiCodec):
    audio = noise(500)
    audio[0, 0, 300] = float("nan")
    with pytest.raises(AudioError, match="NaN"):
        codec.encode(audio)
    with pytest.raises(AudioError, match="NaN"):
        codec.stream_encoder().push(audio)


def test_what_comes_later_changes_no_frame_that_was_given_out(codec: MimiCodec):
    frames, kept = 3 * CONTEXT, 2 * CONTEXT
    first, second = noise(frames * HOP), noise(frames * HOP)
    second[..., kept * HOP :] = noise((frames - kept) * HOP, seed=1)
    codes = [codec.encode(audio).codes for audio in (first, second)]
    assert torch.equal(codes[0][..., :kept], codes[1][..., :kept])
    assert not torch.equal(codes[0][..., kept:], codes[1][..., kept:])
    changed = codes[0].clone()
    changed[..., kept:] = (changed[..., kept:] + 1) % 64
    audio = [codec.decode(codec.tokens_from_codes(c)) for c in (codes[0], changed)]
    assert torch.equal(audio[0][..., : kept * HOP], audio[1][..., : kept * HOP])


@pytest.mark.parametrize("largest", [3, 50, 900])
@pytest.mark.parametrize("samples", [1, 31, 32, 405, HOP * 3 * CONTEXT + 5])
def test_streams_in_any_pieces_equal_the_whole(codec: MimiCodec, samples: int, largest: int):
    audio, seed = noise(samples, batch=2), samples * largest
    tokens = codec.encode(audio)
    encoder, decoder = codec.stream_encoder(batch=2), codec.stream_decoder(batch=2)
    pieces = [encoder.push_tokens(part) for part in audio.split(split(samples, largest, seed), dim=-1)]
    pieces.append(encoder.flush_tokens())
    assert torch.equal(torch.cat([piece.codes for piece in pieces], dim=-1), tokens.codes)
    held = torch.cat([decoder.push(piece) for piece in pieces[:-1]], dim=-1)
    sound = torch.cat([held, decoder.push(pieces[-1])], dim=-1)
    assert sound.shape[-1] == -(-samples // HOP) * HOP
    torch.testing.assert_close(sound[..., :samples], codec.decode(tokens), atol=1e-5, rtol=0)


def test_a_frame_comes_out_with_its_last_sample(codec: MimiCodec):
    encoder, decoder = codec.stream_encoder(), codec.stream_decoder()
    sizes = [encoder.push(part).shape[-1] for part in noise(4 * HOP).split(HOP // 2, dim=-1)]
    assert sizes == [0, 1] * 4
    heard = [decoder.push(part).shape[-1] for part in torch.zeros(1, 6, 3, dtype=torch.int64).split(1, dim=-1)]
    assert heard == [HOP] * 3


def test_a_stream_can_start_anew(codec: MimiCodec):
    encoder, audio = codec.stream_encoder(), noise(1900)
    runs = []
    for _ in range(2):
        runs.append(torch.cat([encoder.push(audio), encoder.flush()], dim=-1))
        encoder.reset()
    assert torch.equal(*runs)


def test_a_long_file_is_coded_in_pieces(codec: MimiCodec, monkeypatch: pytest.MonkeyPatch):
    audio = noise(HOP * 100 + 7)
    tokens = codec.encode(audio)
    sound = codec.decode(tokens)
    monkeypatch.setattr(mimi, "PIECE_FRAMES", 9)
    assert torch.equal(codec.encode(audio).codes, tokens.codes)
    torch.testing.assert_close(codec.decode(tokens), sound, atol=1e-5, rtol=0)
