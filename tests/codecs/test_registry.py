"""Names, folders and official checkpoints to codecs, and what is said where there is none."""

import json
import sys
import types

import pytest
import torch

import toneme
from toneme.codecs import registry
from toneme.codecs.errors import CheckpointError, CodecNotFoundError, TonemeError
from toneme.codecs.toneme24k import TonemeCodec, TonemeConfig

SMALL = {"encoder_dim": 16, "encoder_blocks": (1, 1), "decoder_dim": 16, "decoder_blocks": (1, 1), "latent_dim": 8}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return a folder of packaged weights with one small codec."""
    weights = tmp_path_factory.mktemp("weights")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        TonemeCodec(TonemeConfig(**SMALL)).save(weights / "toneme-24k")
    return weights


@pytest.fixture
def packaged(saved, monkeypatch):
    monkeypatch.setattr(registry, "WEIGHTS", saved)
    return saved


@pytest.fixture
def official(monkeypatch):
    """Install one family whose OFFICIAL table has one codec, and return what it was called with."""
    calls = []

    class Built(torch.nn.Module):
        pass

    def build(checkpoint):
        calls.append(checkpoint)
        return Built()

    module = types.ModuleType("toneme.codecs.made_up")
    module.OFFICIAL = {"made_up_24khz": build}  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(registry, "FAMILIES", {"toneme": registry.FAMILIES["toneme"], "made_up": (".made_up", "None")})
    return calls


def test_default_is_the_shipped_codec(packaged):
    codec = toneme.load("default")
    assert isinstance(codec, TonemeCodec)
    assert not codec.training
    assert codec.name == "toneme-24k"
    assert toneme.load("toneme-24k").weights_hash == codec.weights_hash


def test_folder_path_and_string(packaged):
    folder = packaged / "toneme-24k"
    assert toneme.load(folder).weights_hash == toneme.load(str(folder)).weights_hash


def test_packaged_name_wins_over_a_folder_beside(packaged, tmp_path, monkeypatch):
    (tmp_path / "default").mkdir()
    monkeypatch.chdir(tmp_path)
    assert registry.find_folder("default") == packaged / "toneme-24k"
    with pytest.raises(CheckpointError, match=r"default holds no config\.json"):
        toneme.load("./default")


def test_hub_names_go_to_the_hub(packaged, monkeypatch):
    asked = []
    monkeypatch.setattr("toneme.codecs.hub.fetch", lambda name: asked.append(name) or packaged / "toneme-24k")
    assert toneme.load("hf://org/name@v1").name == "toneme-24k"
    assert asked == ["hf://org/name@v1"]


def test_unknown_name_says_what_is_near(packaged, official):
    with pytest.raises(CodecNotFoundError, match=r"'tonem-24' \(did you mean toneme-24k\?\).*default, toneme-24k.*hf://"):
        toneme.load("tonem-24")


def test_official_name_tells_how_to_convert(packaged, official):
    with pytest.raises(CodecNotFoundError, match="codec convert CHECKPOINT --as made-up-24khz"):
        toneme.load("made-up-24khz")


def test_unknown_family_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"family": "os.system", "name": "x", "config": {}}))
    with pytest.raises(CheckpointError, match=r"unknown family 'os\.system': this version knows .*toneme"):
        toneme.load(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"family": 1}', '{"family": "toneme", "name": "x", "config": {"bogus": 1}}'])
def test_damaged_config_is_a_checkpoint_error(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError):
        toneme.load(tmp_path)


def test_list_tells_the_spec_without_reading_weights(packaged, tmp_path, monkeypatch):
    (tmp_path / "toneme-24k").mkdir()
    (tmp_path / "toneme-24k" / "config.json").write_bytes((packaged / "toneme-24k" / "config.json").read_bytes())
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
    (about,) = toneme.list_codecs()
    assert (about.name, about.aliases, about.family) == ("toneme-24k", ("default",), "toneme")
    assert (about.spec.sample_rate, about.spec.codebooks, about.spec.bitrate()) == (24000, 8, 4.0)
    assert about.parameters == sum(p.numel() for p in TonemeCodec(TonemeConfig(**SMALL)).parameters())


def test_names_list_no_alias_without_its_codec(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
    assert registry.codec_names() == []


@pytest.mark.parametrize("name", ["made_up_24khz", "made-up-24kHz"])
def test_from_official_takes_what_is_published(official, tmp_path, name):
    layer = torch.nn.Linear(2, 3)
    torch.save({"best_state": layer.state_dict()}, tmp_path / "official.th")
    for checkpoint in (layer, layer.state_dict(), {"state_dict": layer.state_dict()}, tmp_path / "official.th"):
        assert not toneme.from_official(name, checkpoint).training
        assert torch.equal(official[-1]["weight"], layer.weight)
        assert list(official[-1]) == ["weight", "bias"]


@pytest.mark.parametrize("checkpoint", [None, 5, b"bytes"])
def test_from_official_refuses_other_things(official, checkpoint):
    with pytest.raises(CheckpointError, match="a checkpoint is a path, a mapping"):
        toneme.from_official("made_up_24khz", checkpoint)


def test_from_official_says_what_cannot_be_read(official, tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        toneme.from_official("made_up_24khz", tmp_path / "missing.th")
    (tmp_path / "text.th").write_text("text")
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
        toneme.from_official("made_up_24khz", tmp_path / "text.th")
    with pytest.raises(CheckpointError, match="holds no tensors"):
        toneme.from_official("made_up_24khz", {"a": "b"})


def test_from_official_names_the_known_ones(official):
    with pytest.raises(CodecNotFoundError, match=r"'made_up' \(did you mean made_up_24khz\?\): the known ones are"):
        toneme.from_official("made_up", {})


def test_every_family_loads_and_has_its_own_name():
    for family, (module, name) in registry.FAMILIES.items():
        assert getattr(registry.importlib.import_module(module, "toneme.codecs"), name).family == family


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert registry.pick_device("auto") == "cpu"
    assert registry.pick_device("cpu") == "cpu"
    with pytest.raises(TonemeError, match="no CUDA device was found"):
        registry.pick_device("cuda:0")
    with pytest.raises(TonemeError, match="unknown device 'gpu': use auto, cpu, cuda"):
        registry.pick_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert registry.pick_device("auto") == "cuda"
