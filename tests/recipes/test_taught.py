"""A first codebook that says what a teacher says: the guess by hand, what stays as it was, what is told, what is refused."""

import dataclasses

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

import toneme.recipes.taught as program
import toneme.recipes.told as measured
from toneme.codecs.registry import load
from toneme.codecs.toneme24k import TonemeCodec, TonemeConfig
from toneme.recipes.errors import RecipeError
from toneme.recipes.recipe import read_recipe
from toneme.recipes.taught import Regression, main, teach_first

SMALL = TonemeConfig(
    encoder_dim=24, encoder_blocks=(1, 1), decoder_dim=16, decoder_blocks=(1, 1), latent_dim=8, codebooks=3, codebook_size=16
)
LESSON = "distil.bright={teacher: somewhere, delay: 0.04}"


def test_the_guess_is_the_main_part_of_least_squares():
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((4000, 5)) + 3
    features = inputs @ rng.standard_normal((5, 7)) * np.arange(1, 8) + rng.standard_normal((4000, 7)) - 4
    regression = Regression(5, 7)
    for part in range(0, 4000, 1000):
        regression.add(torch.tensor(inputs[part : part + 1000]), torch.tensor(features[part : part + 1100]))
    weight, bias = regression.directions(3)
    guess = inputs @ weight.numpy().T + bias.numpy()
    centred = inputs - inputs.mean(0)
    fit = centred @ np.linalg.lstsq(centred, (features - features.mean(0)) / features.std(0), rcond=None)[0]
    left, scales, _ = np.linalg.svd(fit, full_matrices=False)
    np.testing.assert_allclose(np.abs(guess), np.abs(left[:, :3] * scales[:3]), atol=0.02)
    np.testing.assert_allclose(guess.mean(0), 0, atol=1e-4)


class Bright(nn.Module):
    """A teacher of two features at 50 Hz: the logarithm of each 20 ms' power and of its change, two frames late."""

    dimension = 2

    def forward(self, waveform: torch.Tensor, sample_rate: int) -> torch.Tensor:
        """Return [batch, frames, 2]."""
        hop = sample_rate // 50
        parts = [x.unfold(-1, hop, hop).square().mean(-1) for x in (waveform, nn.functional.pad(waveform.diff(), (0, 1)))]
        features = torch.stack(parts, dim=2).add(1e-6).log()
        return torch.cat([torch.zeros(len(waveform), 2, 2), features[:, :-2]], dim=1)


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    (tmp_path / "audio").mkdir()
    for number in range(10):
        levels = np.repeat(10 ** rng.uniform(-3, 0, 100), 480)
        soundfile.write(tmp_path / f"audio/{number}.wav", 0.5 * levels * rng.uniform(-1, 1, 48000), 24000)
    for module in (program, measured):
        monkeypatch.setattr(module, "speech_model", lambda *given: Bright())
    torch.manual_seed(0)
    codec = TonemeCodec(SMALL, "small").eval()
    codec.quantizer.codebooks.normal_(std=0.3)
    codec.save(tmp_path / "plain")
    settings = [f"init={tmp_path / 'plain'}", f"data.train={tmp_path / 'audio'}", "batch=4", "seconds=2", LESSON]
    return settings, tmp_path


@torch.no_grad()
def test_the_first_code_tells_more_and_the_rest_stays(recipe, capsys):
    settings, folder = recipe
    main(["tiny", *settings, "-o", str(folder / "new"), "--dimension", "2", "--strength", "0.7", "--vectors", "4000"])
    plain, new = load(folder / "plain"), load(folder / "new")
    assert isinstance(plain, TonemeCodec)
    assert isinstance(new, TonemeCodec)
    assert new.config == dataclasses.replace(SMALL, taught_dim=2, semantic=1)
    assert new.spec.roles[0] == "semantic"
    waveform = torch.from_numpy(
        np.concatenate([soundfile.read(folder / f"audio/{n}.wav", dtype="float32")[0] for n in range(10)])
    )
    before, after = plain.encoder(waveform[None]), new.encoder(waveform[None])
    torch.testing.assert_close(after[..., :8], before)
    spread = after.var(1).sum(0)
    assert (spread[8:].sum() / spread[:8].sum()).item() == pytest.approx(0.7, rel=0.2)  # of other items, of other loudness
    assert not new.quantizer.codebooks[1:, :, 8:].any()
    torch.testing.assert_close(new.decoder(after[:, :50]), plain.decoder(before[:, :50]))  # it does not hear the guess yet
    shares = {}
    for name in ("plain", "new"):
        found = measured.told(read_recipe("tiny", [f"init={folder / name}", *settings[1:]]), "bright", 10)
        assert max(found, key=lambda delay: found[delay]) == pytest.approx(0.04) or name == "plain"
        shares[name] = found[0.04]
    assert shares["new"] > shares["plain"] + 0.1
    assert shares["new"] > 0.4


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--dimension", "0"], "dimension and strength must be above 0; got 0 and 0.5"),
        (["--strength", "-1"], "dimension and strength must be above 0; got 16 and -1.0"),
        (["--dimension", "3"], "the teacher's features have 2 numbers; got --dimension 3"),
        (["--lesson", "dark"], "no lesson 'dark', but bright"),
        (["--vectors", "0"], "codebooks move by one vector at least; got --vectors 0"),
        (["init="], "no codec to ask"),
    ],
)
def test_what_cannot_be_taught_is_explained(recipe, changed, message):
    settings, folder = recipe
    with pytest.raises(RecipeError, match=message):
        main(["tiny", *settings, "-o", str(folder / "new"), *changed])
    assert not (folder / "new").exists()


def test_a_codec_that_was_taught_before_is_refused(recipe, monkeypatch):
    settings, folder = recipe
    taught = TonemeCodec(dataclasses.replace(SMALL, taught_dim=2), "taught")
    monkeypatch.setattr(program, "initial_codec", lambda init, name: taught)
    with pytest.raises(RecipeError, match="taught is no codec of the toneme family, or has numbers for a teacher"):
        teach_first(read_recipe("tiny", settings), "bright", 2, 0.5, 10, 100)
    (folder / "file").touch()
    with pytest.raises(RecipeError, match="file is a file, and a codec is a folder: name another with -o"):
        main(["tiny", *settings, "-o", str(folder / "file")])
