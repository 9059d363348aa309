"""Teachers of one's own: they learn to spell, load as any teacher, and go on where they stopped."""

import numpy as np
import pytest
import torch

from toneme.codecs.errors import CheckpointError
from toneme.codecs.teachers import load_teacher
from toneme.recipes.errors import DataError, RecipeError, TrainingError
from toneme.recipes.hearing import HearingTraining, edits, spelled
from toneme.recipes.recipe import read_recipe

from .tones import made_texts, write_tones

transformers = pytest.importorskip("transformers")
SIZES = "hidden_size: 32, num_attention_heads: 2, intermediate_size: 64, conv_depthwise_kernel_size: 5"
SETTINGS = [
    f"hearing.settings={{{SIZES}, num_hidden_layers: 2, mask_time_prob: 0.0, mask_feature_prob: 0.0}}",
    "hearing.apart=0.2", "data.bank=false", "batch=8", "seconds=2", "precision=fp32", "optimizer.warmup=5",
    "optimizer.learning_rate=5e-3", "steps=4", "saving.every=100", "saving.log=2", "ema=0.9",
]  # fmt: skip


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_tones(tmp_path_factory.mktemp("hearing") / "tones", made_texts(40))


def training(manifest, folder, *settings) -> HearingTraining:
    return HearingTraining(read_recipe("teacher_ctc", [*SETTINGS, f"data.train={manifest}", *settings]), folder)


def test_it_learns_to_spell_what_it_has_not_heard(manifest, tmp_path, capsys):
    one = f"hearing.settings={{{SIZES}, num_hidden_layers: 1, mask_time_prob: 0.0}}"
    run = training(manifest, tmp_path, "steps=150", "optimizer.learning_rate=1e-2", one)
    assert run.error(run.model.eval()) > 60
    assert run.run() == 150
    wrong = float(capsys.readouterr().err.split("step 150: ")[-1].split(" %")[0])
    assert wrong < 15
    model = transformers.Wav2Vec2BertForCTC.from_pretrained(tmp_path / "model").eval()
    assert run.error(model) == pytest.approx(wrong, abs=0.06)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    number = run.spoken.apart[0]
    path = run._scores(model, run.spoken.gather([number]))[0].argmax(-1)
    said = run.spoken.texts[number].replace("|", " ")
    assert edits(tokenizer.decode(path), said) <= 1


def test_it_is_a_teacher(manifest, tmp_path):
    run = training(manifest, tmp_path, "steps=2")
    run.run()
    teacher = load_teacher(tmp_path / "model", -2)
    assert (teacher.dimension, teacher.frame_rate) == (32, 50.0)
    number = run.spoken.learned[0]
    heard = torch.from_numpy(run.spoken.items.read(number, 0.0, 100.0))
    batch = run.spoken.gather([number])
    best = transformers.Wav2Vec2BertForCTC.from_pretrained(tmp_path / "model").eval()
    with torch.no_grad():
        states = best(batch.spectra, attention_mask=batch.heard.long(), output_hidden_states=True).hidden_states
    torch.testing.assert_close(teacher(heard), states[-2], atol=1e-5, rtol=0)


def test_what_is_padding_for_one_recording_changes_nothing(manifest, tmp_path):
    run = training(manifest, tmp_path)
    model, first, last = run.model.eval(), run.spoken.learned[0], run.spoken.learned[-1]
    alone, both = run.spoken.gather([first]), run.spoken.gather([first, last])
    with torch.no_grad():
        ours, theirs = run._scores(model, both)[0], run._scores(model, alone)[0]
    torch.testing.assert_close(ours[: len(theirs)], theirs, atol=1e-5, rtol=0)


def test_a_resumed_run_takes_the_steps_of_the_whole(manifest, tmp_path):
    masks = f"hearing.settings={{{SIZES}, num_hidden_layers: 2, mask_time_prob: 0.2, hidden_dropout: 0.1, mask_time_length: 4}}"
    whole = training(manifest, tmp_path / "whole", masks)
    losses = [whole.take_step()["loss"] for _ in range(4)]
    first = training(manifest, tmp_path / "half", masks)
    assert [first.take_step()["loss"] for _ in range(2)] == losses[:2]
    first.save()
    rest = training(manifest, tmp_path / "half", masks)
    rest._load()
    assert [rest.take_step()["loss"] for _ in range(2)] == losses[2:]
    ours, theirs = rest.average.state_dict(), whole.average.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_what_cannot_be_trained_on_is_said(manifest, tmp_path):
    with pytest.raises(DataError, match="0 of 40 recordings have a transcript"):
        training(manifest, tmp_path, "seconds=0.1")
    with pytest.raises(CheckpointError, match=r"unknown settings \['hidden'\] of a wav2vec2-bert"):
        training(manifest, tmp_path, "hearing.settings={hidden: 3}")
    with pytest.raises(RecipeError, match=r"hearing.kind must be ctc; got 'hubert'"):
        read_recipe("teacher_ctc", ["hearing.kind=hubert"])
    with pytest.raises(RecipeError, match=r"hearing.apart must be from 0 to below 1; got 1.0"):
        read_recipe("teacher_ctc", ["hearing.apart=1"])
    with pytest.raises(TrainingError, match="no state of a teacher"):
        training(manifest, tmp_path)._load()
    training(manifest, tmp_path, "steps=1").run()
    other = write_tones(tmp_path / "other", ["ab ba", "aa bb", "ab ab"])
    with pytest.raises(TrainingError, match="knows other letters"):
        training(other, tmp_path)._load()


def test_paths_are_spelled():
    assert spelled([0, 3, 3, 0, 3, 2, 2, 0, 0]) == [3, 3, 2]
    assert spelled([]) == []


def test_edits_are_those_of_jiwer():
    jiwer = pytest.importorskip("jiwer")
    rng = np.random.default_rng(0)
    assert (edits("", "abc"), edits("abc", ""), edits("kitten", "sitting")) == (3, 3, 3)
    for _ in range(20):
        told, guess = ("".join(rng.choice(list("abcd"), int(rng.integers(1, 12)))) for _ in range(2))
        assert edits(guess, told) == round(jiwer.cer(told, guess) * len(told))
