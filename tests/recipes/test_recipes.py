"""Every shipped recipe takes a few steps at a toy size, and its codec is saved, loaded and coded with."""

import dataclasses

import pytest
import torch

import toneme
from toneme.codecs.audio import write_audio
from toneme.codecs.errors import ShapeError
from toneme.recipes.clustering import Clustering
from toneme.recipes.errors import RecipeError
from toneme.recipes.recipe import Recipe, read_recipe
from toneme.recipes.tables import recipe_names
from toneme.recipes.trainer import Trainer

from .toys import COMMON, TEACHER, TOY


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> str:
    """A folder with a small speech model of random weights."""
    transformers = pytest.importorskip("transformers", reason="teachers are speech models of transformers")
    folder = tmp_path_factory.mktemp("teacher")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.HubertModel(transformers.HubertConfig(**TEACHER)).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def reader(tmp_path_factory) -> str:
    """A folder with a small language model of random weights, which knows three words."""
    transformers = pytest.importorskip("transformers", reason="text teachers are models of transformers")
    folder = tmp_path_factory.mktemp("reader")
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "one", "two", "three"]))
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    sizes = {"vocab_size": 8, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.BertModel(transformers.BertConfig(**sizes)).save_pretrained(folder)
    return str(folder)


def settings_of(name: str, folder, teacher: str, reader: str) -> list[str]:
    """Return what makes a recipe small and its teachers local."""
    recipe = read_recipe(name)
    local = {"own": None, "text:google-bert/bert-base-uncased": f"text:{reader}"}
    extra = [f"distil.{key}.teacher={found}" for key, entry in recipe.distil.items()
             if (found := local.get(entry["teacher"], teacher)) is not None]  # fmt: skip
    extra += [f"distil.{key}.aligner=" for key, entry in recipe.distil.items() if "aligner" in entry]
    if recipe.codec.teacher:
        extra.append(f"codec.teacher={teacher}")
        pairs = ", ".join(f"[{key}, {value}]" for key, value in TEACHER.items())
        extra.append(f"codec.config.teacher={{settings: [{pairs}]}}")
    return [*COMMON, *TOY[name], *extra, f"data.cache={folder / 'cache'}"]


def recipe_on(speech, name: str, folder, teacher: str, reader: str) -> Recipe:
    """Return a small recipe on one second of speech whose words are known."""
    audio = folder / "audio"
    audio.mkdir()
    write_audio(audio / "one.wav", speech[:, :24000], 24000)
    (audio / "manifest.csv").write_text(
        "path,split,seconds,text,times\none.wav,train,1.0,one two three two,0 0.2 0.3 0.4 0.5 0.7 0.8 1\n"
    )
    return read_recipe(name, [f"data.train={audio}", *settings_of(name, folder, teacher, reader)])


def is_fixed(name: str, parameter: torch.Tensor) -> bool:
    """Say whether it is a direction of one number, as toy sizes have: its gradient is nothing but rounding."""
    return name.endswith("weight.original1") and parameter[0].numel() == 1


def test_every_shipped_recipe_has_a_test_and_says_what_it_is():
    read = {name: read_recipe(name) for name in recipe_names()}
    others = {name for name, recipe in read.items() if recipe.language.kind or recipe.hearing.kind or recipe.diffusion.stage}
    assert set(TOY) == set(read) - others
    assert all(recipe.about for recipe in read.values())


@pytest.mark.parametrize(
    "name", ["tiny", *(pytest.param(name, marks=pytest.mark.slow) for name in TOY if name not in ("tiny", "kmeans_ssl"))]
)
def test_a_recipe_trains_a_codec_that_loads_and_codes(name, tmp_path, speech, teacher, reader):
    trainer = Trainer(recipe_on(speech, name, tmp_path, teacher, reader), tmp_path / "run", name)
    before = {key: value.clone() for key, value in trainer.model.state_dict().items()}
    assert trainer.run() == 3
    after = trainer.model.state_dict()
    learned = {key for key, p in trainer.model.named_parameters() if p.requires_grad and not is_fixed(key, p)}
    assert not [key for key in learned if torch.equal(before[key], after[key])], "parameters that did not learn"
    codec = toneme.load(str(tmp_path / "run" / "codec"))
    tokens = codec.encode(speech[None, :, :24000], 24000)
    decoded = codec.decode(tokens)
    assert decoded.shape[-1] == int(tokens.n_samples[0])
    assert decoded.isfinite().all()


def test_units_are_fitted_loaded_and_coded_with_and_a_run_goes_on(tmp_path, speech, teacher, reader):
    recipe = recipe_on(speech, "kmeans_ssl", tmp_path, teacher, reader)
    whole = Clustering(recipe, tmp_path / "whole")
    assert whole.run() == 3
    first = Clustering(dataclasses.replace(recipe, steps=2), tmp_path / "run")
    first.run()
    second = Clustering(recipe, tmp_path / "run")
    assert second.run(resume=True) == 3
    assert torch.equal(whole.codec.quantizer.centres, second.codec.quantizer.centres)
    codec = toneme.load(str(tmp_path / "run" / "codec"))
    tokens = codec.encode(speech[None, :, :24000], 24000)
    assert tokens.streams[0].shape == (1, 1, 50)
    assert len(tokens.streams[0].unique()) > 1
    with pytest.raises(ShapeError, match="say what is said and have no sound"):
        codec.decode(tokens)


def test_units_that_were_stopped_before_there_were_centres_go_on(tmp_path, speech, teacher, reader, capsys, monkeypatch):
    recipe = recipe_on(speech, "kmeans_ssl", tmp_path, teacher, reader)
    first = Clustering(recipe, tmp_path / "run")
    first.stopping = True
    assert first.run() == 0
    assert "stopped at step 0, and saved: go on with --resume" in capsys.readouterr().err
    assert Clustering(recipe, tmp_path / "run").run(resume=True) == 3
    monkeypatch.setattr("toneme.recipes.machines.join", lambda device: (0, 2))
    with pytest.raises(RecipeError, match="k-means fits units in one process"):
        Clustering(recipe, tmp_path / "run")
