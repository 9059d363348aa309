"""What first codes tell of a teacher: shares by hand, the delay of a late one, and what cannot be told."""

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

import toneme.recipes.told as program
from toneme.codecs.toneme24k import TonemeCodec
from toneme.recipes.errors import DataError, RecipeError
from toneme.recipes.recipe import read_recipe
from toneme.recipes.teaching import Lesson, speech_model
from toneme.recipes.told import Tally, main, told

LESSON = "distil.late={teacher: somewhere}"


def tallied(codes, features) -> Tally:
    tally = Tally(4, 2)
    tally.add(torch.tensor(codes, dtype=torch.long), torch.tensor(features))
    return tally


def test_what_codes_tell_is_the_share_of_variance_that_their_means_explain():
    rng = np.random.default_rng(0)
    codes, apart = rng.integers(0, 4, 5000), rng.integers(0, 4, 400)
    means, noise = rng.standard_normal((4, 2)), rng.standard_normal((5400, 2))
    learned, others = means[codes] + noise[:5000], means[apart] + noise[5000:]
    found = tallied(codes, learned).told_of(tallied(apart, others))
    own = np.stack([learned[codes == code].mean(0) for code in range(4)])
    expected = 1 - ((others - own[apart]) ** 2).sum(0) / ((others - others.mean(0)) ** 2).sum(0)
    assert found == pytest.approx(expected.mean(), abs=1e-3)
    assert 0.1 < found < 0.9
    assert tallied(rng.permutation(codes), learned).told_of(tallied(apart, others)) == pytest.approx(0, abs=0.02)


def test_codes_that_were_not_seen_tell_nothing_and_offsets_change_nothing():
    learned, apart = tallied([0, 1] * 50, [[0.0, 0.0], [1.0, 1.0]] * 50), ([2, 3], [[0.0, 5.0], [1.0, 6.0]])
    assert learned.told_of(tallied(*apart)) < 0.01
    same = tallied([0, 1] * 50, [[100.0, 0.0], [101.0, 1.0]] * 50).told_of(tallied([0, 1], [[100.0, 0.0], [101.0, 1.0]]))
    assert same == pytest.approx(learned.told_of(tallied([0, 1], [[0.0, 0.0], [1.0, 1.0]])), abs=1e-6)
    assert same > 0.99


@pytest.mark.parametrize("features", [[[1.0, 2.0]] * 3, [[1.0, 2.0]], []])
def test_features_that_do_not_vary_are_refused(features):
    others = tallied([0] * len(features), np.reshape(features, (-1, 2)))
    with pytest.raises(DataError, match="do not vary"):
        tallied([0, 1], [[0.0, 0.0], [1.0, 1.0]]).told_of(others)


class Late(nn.Module):
    """A teacher of one feature at 50 Hz, the logarithm of each 20 ms' power, three frames late."""

    dimension = 1

    def forward(self, waveform: torch.Tensor, sample_rate: int) -> torch.Tensor:
        """Return [batch, frames, 1]."""
        hop = sample_rate // 50
        powers = waveform.unfold(-1, hop, hop).square().mean(-1, keepdim=True)
        return torch.cat([torch.zeros(len(waveform), 3, 1), powers[:, :-3].add(1e-6).log()], dim=1)


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for number in range(10):
        levels = np.repeat(10 ** rng.uniform(-3, 0, 100), 480)
        soundfile.write(tmp_path / f"{number}.wav", 0.5 * levels * rng.uniform(-1, 1, 48000), 24000)
    monkeypatch.setattr(program, "speech_model", lambda *given: Late())
    return ["toneme_24k", "init=default", f"data.train={tmp_path}", "data.bank=false", LESSON]


def test_the_delay_of_a_late_teacher_is_found(recipe, capsys):
    main([*recipe, "--recordings", "10"])
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "most at 0.06 s: delay: 0.06"
    shares = {float(line.split()[0]): float(line.split()[1]) for line in said[1:-1]}
    assert list(shares) == [pytest.approx(frame / 50) for frame in range(13)]
    assert shares[0.06] > 40 > shares[0.0] + 20


def test_what_cannot_be_told_is_explained(recipe, tmp_path):
    settings = recipe[1:]
    with pytest.raises(RecipeError, match="no codec to ask"):
        told(read_recipe("toneme_24k", settings[1:]), "late", 10)
    with pytest.raises(RecipeError, match=r"no lesson 'other', but late: give one in distil, or choose by --lesson"):
        told(read_recipe("toneme_24k", settings), "other", 10)
    with pytest.raises(RecipeError, match="but none"):
        main(["toneme_24k", *settings[:-1]])
    with pytest.raises(RecipeError, match="reads, and is not late"):
        told(read_recipe("toneme_24k", [*settings[:-1], "distil.late={teacher: 'text:bert'}"]), "late", 10)
    with pytest.raises(DataError, match=r"5 recordings of 0\.5 s or more are needed; 10 are there, 4 are asked for"):
        told(read_recipe("toneme_24k", settings), "late", 4)


def test_a_codec_that_holds_no_teacher_is_told_apart():
    codec = TonemeCodec()
    with pytest.raises(RecipeError, match="holds no teacher of its own"):
        speech_model(Lesson("own"), codec, "cpu")
