"""A codec as it is trained is the codec as it is used: same codes, same audio, whatever the family."""

import pytest
import torch

from toneme.recipes.codebooks import moving_codebooks
from toneme.recipes.errors import RecipeError
from toneme.recipes.models import Trainee, build_codec, first_codebook, initial_codec, norm_weights, save_codec
from toneme.recipes.recipe import CodecSettings, read_recipe

from .toys import TOY

FAMILIES = ["toneme_24k", "encodec_24khz", "dac_44khz", "snac_24khz", "wavtokenizer_24khz", "mimi_24khz", "speechtokenizer"]


def trainee(name: str) -> Trainee:
    torch.manual_seed(0)
    settings = [part for part in TOY[name] if part.startswith("codec.")]
    return Trainee(build_codec(read_recipe(name, settings).codec, name).eval())


@pytest.mark.parametrize("name", FAMILIES)
def test_a_pass_gives_what_encode_and_decode_give(name):
    model = trainee(name)
    hop = max(stream.hop for stream in model.codec.spec.streams)
    waveform = 0.1 * torch.randn(2, model.codec.spec.channels, 40 * hop, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        passed = model.eval()(waveform)
    tokens = model.codec.encode(waveform)
    codes = passed.quantized.codes
    for ours, theirs in zip(codes if isinstance(codes, tuple) else (codes,), tokens.streams, strict=True):
        assert torch.equal(ours, theirs)
    torch.testing.assert_close(passed.waveform, model.codec.decode(tokens), atol=1e-4, rtol=1e-3)


def test_items_may_pass_plain_and_with_fewer_codebooks():
    model = trainee("encodec_24khz")
    waveform = 0.1 * torch.randn(2, 1, 1280, generator=torch.Generator().manual_seed(1))
    plain = model(waveform, quantize=False)
    assert plain.quantized is None
    mixed = model(waveform, plain=torch.tensor([True, False]))
    torch.testing.assert_close(mixed.waveform[0], plain.waveform[0])
    assert not torch.allclose(mixed.waveform[1], plain.waveform[1])
    shallow = model(waveform, depths=torch.tensor([1, 2]))
    torch.testing.assert_close(shallow.waveform[1], model(waveform).waveform[1])
    assert not torch.allclose(shallow.waveform[0], model(waveform).waveform[0])


@pytest.mark.parametrize("folder", ["mimi", "run 12:30"])
def test_a_codecs_folder_goes_before_an_official_name_and_may_hold_a_colon(tmp_path, monkeypatch, folder):
    trainee("toneme_24k").codec.save(tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    assert (initial_codec(folder, "").family, initial_codec(folder, "finer").name) == ("toneme", "finer")


def test_weight_norm_changes_nothing_and_folds_when_saved():
    model = trainee("dac_44khz")
    waveform = 0.1 * torch.randn(1, 1, 1280, generator=torch.Generator().manual_seed(1))
    before = model(waveform).waveform
    plain = {name: value.clone() for name, value in model.codec.state_dict().items()}
    norm_weights(model.codec)
    torch.testing.assert_close(model(waveform).waveform, before)
    saved = save_codec(model, model.state_dict())
    assert saved.state_dict().keys() == plain.keys()
    for name, value in saved.state_dict().items():
        torch.testing.assert_close(value, plain[name])


@pytest.mark.parametrize("name", ["encodec_24khz", "mimi_24khz", "dac_44khz"])
def test_the_first_codebook_alone_decodes_and_lets_gradients_through(name):
    model = trainee(name)
    latents = torch.randn(1, model.encode(torch.zeros(1, 1, 2048)).shape[1], 6, requires_grad=True)
    codes = model.quantizer.encode(latents)
    said = first_codebook(model.quantizer, latents, codes)
    torch.testing.assert_close(said, model.quantizer.decode(codes[:, :1]))
    said.square().sum().backward()
    assert latents.grad.abs().sum() > 0


def test_a_teacher_hears_the_numbers_that_are_there_for_it():
    settings = CodecSettings(family="toneme", config={"latent_dim": 8, "taught_dim": 3, "codebook_size": 16})
    model = Trainee(build_codec(settings, "x"), {"a": (5, "first"), "b": (5, "all")})
    assert model.projections["a"].in_features == 3
    assert model.projections["b"].in_features == 11
    passed = model(torch.randn(1, 1, 4800))
    assert passed.taught["a"].shape == passed.taught["b"].shape == (1, 10, 5)
    passed.taught["a"].sum().backward()
    rows = model.codec.encoder.leave.weight.grad
    assert rows[8:].abs().sum() > 0
    assert not rows[:8].any()


def test_every_moving_codebook_is_found():
    assert len(moving_codebooks(trainee("mimi_24khz"))) == 2
    assert not moving_codebooks(trainee("dac_44khz"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (CodecSettings(family="opus"), "codec.family must be one of bigcodec"),
        (CodecSettings(family="dac", preset="dac_8khz"), "codec.preset must be one of dac_44khz"),
        (CodecSettings(family="toneme", config={"hops": 3}), "codec.config cannot be used: unknown settings"),
        (CodecSettings(family="toneme", config={"codebooks": -1}), "codec.config cannot be used: .*negative"),
        (CodecSettings(family="toneme", config={"hop": 0}), "codec.config cannot be used: .*zero"),
        (CodecSettings(family="toneme", config={"latent_dim": 0}), r"leaves encoder\.\S+ without a number"),
        (CodecSettings(family="toneme", config={"codebook_size": 0}), r"leaves quantizer\.\w+ without a number"),
    ],
)
def test_codecs_that_cannot_be_built_are_explained(settings, message):
    with pytest.raises(RecipeError, match=message):
        build_codec(settings, "x")
