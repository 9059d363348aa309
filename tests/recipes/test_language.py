"""Training of language models: every recipe learns, a resumed run is the whole run, other codecs' shards are refused."""

import json
import signal
import subprocess
import sys

import pytest
import torch

from toneme.codecs.errors import CheckpointError
from toneme.codecs.registry import load
from toneme.lm.models import base
from toneme.lm.tokenizing import tokenize
from toneme.recipes.errors import RecipeError, TrainingError
from toneme.recipes.language import LanguageTraining
from toneme.recipes.recipe import read_recipe
from toneme.recipes.tables import recipe_names

from ..lm.made import make_codec, make_recordings

NAMES = ["lm_delay", "lm_depth", "lm_digits", "lm_masked"]
SMALL = [
    "language.width=16", "language.layers=1", "language.heads=2", "language.depth_width=16", "language.depth_layers=1",
    "language.codebooks=2", "language.labels=folder", "language.told=label", "batch=2", "steps=4", "seconds=0.2",
    "optimizer.warmup=1", "saving.every=2", "saving.log=2", "language.dropout=0.1",
]  # fmt: skip


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    make_codec(folder / "tiny")
    tokenize(make_recordings(folder / "data", 4, 0.4), folder / "out", str(folder / "tiny"), 3, workers=0)
    return folder / "out"


def training(name, shards, folder, *settings):
    return LanguageTraining(read_recipe(name, [*SMALL, f"data.train={shards}", *settings]), folder)


def test_every_language_recipe_has_a_test():
    assert set(NAMES) == {name for name in recipe_names() if read_recipe(name).language.kind}


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_trains_a_model_that_loads(name, shards, tmp_path):
    run = training(name, shards, tmp_path / "run")
    before = {key: value.clone() for key, value in run.model.state_dict().items()}
    assert run.run() == 4
    model = base.load(tmp_path / "run" / "model")
    assert model.config.kind == read_recipe(name).language.kind
    assert model.config.labels == ("left", "right")
    model.check(load(shards.parent / "tiny"), "the codec")
    assert any(not torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert (tmp_path / "run" / "log.jsonl").read_text().count('"loss"') == 2


def test_recordings_of_which_nothing_is_told_are_counted(shards, tmp_path, capsys):
    (tmp_path / "m.csv").write_text("path,label\nleft/000.wav,one\nright/001.wav,two\n")
    training("lm_delay", shards, tmp_path / "run", f"language.labels={tmp_path / 'm.csv'}")
    assert "2 of 4 recordings are left out: " in capsys.readouterr().err


@pytest.mark.parametrize("name", ["lm_delay", "lm_depth"])
def test_accumulated_batches_of_unequal_lengths_give_the_gradient_of_one_large_batch(name, shards, tmp_path):
    settings = ["language.dropout=0", "optimizer.clip=0", "seconds=0.4"]
    large = training(name, shards, tmp_path / "a", "batch=4", *settings)
    parts = training(name, shards, tmp_path / "b", "batch=2", "accumulate=2", *settings)
    assert len({share for _, share in parts._parts()}) == 2
    ours, theirs = large.take_step(), parts.take_step()
    assert theirs == pytest.approx(ours, rel=1e-5)  # sums in another order


RANK = """
import json, os, sys
from pathlib import Path
import torch
from toneme.recipes.language import LanguageTraining
from toneme.recipes.recipe import read_recipe
torch.set_num_threads(1)
folder = Path(sys.argv[1])
run = LanguageTraining(read_recipe("lm_delay", json.loads(sys.argv[2])), folder / "run")
(folder / os.environ["RANK"]).write_text(json.dumps(run.take_step()))
"""


@pytest.mark.slow
def test_two_processes_of_unequal_lengths_learn_what_one_with_the_double_batch_does(shards, tmp_path):
    settings = [*SMALL, f"data.train={shards}", "language.dropout=0", "optimizer.clip=0", "seconds=0.4"]
    script = tmp_path / "rank.py"
    script.write_text(RANK)
    command = [sys.executable, "-P", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    done = subprocess.run([*command, str(tmp_path), json.dumps(settings)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    ours = [json.loads((tmp_path / str(rank)).read_text()) for rank in (0, 1)]
    alone = training("lm_delay", shards, tmp_path / "alone", *settings[len(SMALL) :], "batch=4").take_step()
    assert [rank["gradient"] for rank in ours] == pytest.approx([alone["gradient"]] * 2, rel=1e-5)  # sums in another order
    assert sum(rank["loss"] for rank in ours) / 2 == pytest.approx(alone["loss"], rel=1e-5)  # as the journal takes it


@pytest.mark.parametrize("name", ["lm_depth", "lm_masked"])
def test_a_resumed_run_takes_the_steps_of_the_whole(name, shards, tmp_path):
    whole = training(name, shards, tmp_path / "whole")
    losses = [whole.take_step()["loss"] for _ in range(4)]
    first = training(name, shards, tmp_path / "half")
    assert [first.take_step()["loss"] for _ in range(2)] == losses[:2]
    first.save()
    rest = training(name, shards, tmp_path / "half")
    rest._load()
    assert [rest.take_step()["loss"] for _ in range(2)] == losses[2:]
    ours, theirs = rest.average.state_dict(), whole.average.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_run_stops_after_the_step_and_goes_on(shards, tmp_path):
    run = training("lm_delay", shards, tmp_path)
    run.stopping = True
    assert run.run() == 0
    run.stopping = False
    take = run.take_step
    run.take_step = lambda: (run._stop(signal.SIGTERM), take())[1]
    assert run.run() == 1
    again = training("lm_delay", shards, tmp_path)
    assert again.run(resume=True) == 4
    assert len(list((tmp_path / "states").iterdir())) == 2


def test_a_model_is_told_texts_of_a_manifest(shards, tmp_path):
    (tmp_path / "m.csv").write_text("path,text\nleft/000.wav,hello\nright/001.wav,\nright/003.wav,good day\n")
    run = training("lm_delay", shards, tmp_path / "run", "language.told=text", f"language.labels={tmp_path / 'm.csv'}")
    assert sorted(run.examples.told) == ["good day", "hello"]
    assert run.run() == 4
    model = base.load(tmp_path / "run" / "model")
    assert model.config.text
    assert model.config.labels == ()
    batch = run.examples.batch(0, 8)
    model.loss(batch.codes, batch.lengths, batch.ended, batch.told).backward()
    read = model.prefix.table.weight.grad.abs().amax(1).nonzero()[:, 0].tolist()
    assert read == sorted({0} | {1 + byte for told in batch.told if told for byte in told.encode()})
    assert len(read) > 5


def test_what_cannot_be_trained_on_is_said(shards, tmp_path):
    with pytest.raises(CheckpointError, match="holds tokens of tiny"):
        training("lm_delay", shards, tmp_path, "language.codec=default")
    with pytest.raises(RecipeError, match="one folder of shards"):
        training("lm_delay", [1], tmp_path)
    with pytest.raises(TrainingError, match="no state of a language model"):
        training("lm_delay", shards, tmp_path)._load()
    wild = training("lm_delay", shards, tmp_path)
    with torch.no_grad():
        wild.model.tables[0].weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match="the loss is nan and its gradient nan at step 0"):
        wild.take_step()
