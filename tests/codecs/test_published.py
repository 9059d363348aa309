"""Official codecs as they are published: one file in each project's wrapping, or several, and under which licence."""

import collections
import dataclasses
import importlib
import io
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from toneme.codecs.errors import CheckpointError
from toneme.codecs.licences import RESTRICTED, licence_of
from toneme.codecs.published import Published
from toneme.codecs.registry import FAMILIES, from_official

from .official import golden_spec
from .small_codecs import CODECS

TWO = Published(dict, {"encoder": ("deep/encoder.ckpt", "encoder.ckpt"), "centres": ("*.npy",)})  # pyright: ignore


@pytest.fixture
def folder(tmp_path):
    torch.save({"state_dict": {"w": torch.ones(2)}}, tmp_path / "encoder.ckpt")
    np.save(tmp_path / "a.npy", np.arange(6.0).reshape(2, 3))
    return tmp_path


def test_a_folder_and_a_mapping_read_alike(folder):
    for checkpoint in (
        folder, str(folder), {"encoder": folder / "encoder.ckpt", "centres": folder / "a.npy"},
        {"encoder": {"w": torch.ones(2)}, "centres": np.load(folder / "a.npy")},
    ):  # fmt: skip
        weights = TWO.read(checkpoint)
        assert sorted(weights) == ["centres.", "encoder.w"]
        assert weights["centres."].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_the_first_pattern_counts(folder):
    (folder / "deep").mkdir()
    torch.save({"w": torch.zeros(2)}, folder / "deep" / "encoder.ckpt")
    assert not TWO.read(folder)["encoder.w"].any()


def test_what_is_missing_or_twice_there_is_said(folder):
    np.save(folder / "b.npy", np.zeros(1))
    with pytest.raises(CheckpointError, match="one file for the part centres"):
        TWO.read(folder)
    with pytest.raises(CheckpointError, match=r"parts encoder, centres; got \['encoder'\]"):
        TWO.read({"encoder": {}})
    with pytest.raises(CheckpointError, match="is no folder"):
        TWO.read(folder / "a.npy")
    with pytest.raises(CheckpointError, match="the part encoder of a checkpoint is a path"):
        TWO.read({"encoder": 1, "centres": folder / "a.npy"})
    (folder / "b.npy").unlink()
    (folder / "a.npy").write_bytes(b"no array")
    with pytest.raises(CheckpointError, match="not a readable array"):
        TWO.read(folder)


# -- every project's files ----------------------------------------------------------------------------------------

STRAYS = {"file": io.BytesIO(b"left over"), "where": pathlib.PurePosixPath("/data"), "seen": collections.Counter("ab")}
Wrap = Callable[[dict[str, Tensor]], Any]


def with_settings(weights: dict[str, Tensor]) -> dict[str, Any]:
    """A checkpoint as audiotools writes it."""
    return {"state_dict": weights, "metadata": {"kwargs": {"sample_rate": 16000}, **STRAYS}}


def parts(weights: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Weights by the first part of their names."""
    found = collections.defaultdict(dict)
    for name, tensor in weights.items():
        part, rest = name.split(".", 1)
        found[part][rest] = tensor
    return dict(found)


def lightning(weights: dict[str, Tensor]) -> dict[str, Any]:
    """A checkpoint as PyTorch Lightning writes it."""
    around = {
        "epoch": 4,
        "callbacks": {"ModelCheckpoint": STRAYS},
        "hyper_parameters": STRAYS,
        "optimizer_states": [{"state": {}}],
    }
    return {"pytorch-lightning_version": "1.8.6", "state_dict": collections.OrderedDict(weights), **around}


def with_critics(weights: dict[str, Tensor]) -> dict[str, Any]:
    """WavTokenizer's, which keeps what training needs."""
    return lightning(weights | {"dac.discriminators.0.convs.0.bias": torch.ones(2), "melspec_loss.window": torch.ones(2)})


def with_speakers(weights: dict[str, Tensor]) -> dict[str, Any]:
    """X-Codec 2's, likewise."""
    return lightning(weights | {"model_spk.x": torch.ones(2), "fc_post_s.bias": torch.ones(2)})


WRAPPINGS: dict[str, tuple[str, str, Wrap]] = {  # name -> whose golden keys, the published file, what is around them in it
    "encodec_24khz": ("encodec_24khz", "encodec_24khz-d7cc33bc.th", dict),
    "dac_16khz": ("dac_16khz", "weights_16khz.pth", with_settings),
    "mimi": ("mimi", "tokenizer-e351c8d8-checkpoint125.safetensors", dict),
    "snac_24khz": ("snac_24khz", "pytorch_model.bin", dict),
    "speechtokenizer": ("speechtokenizer", "SpeechTokenizer.pt", dict),
    "dm_codec": ("speechtokenizer", "Model_best_dev.pt", dict),
    "bigcodec": ("bigcodec", "bigcodec.pt", parts),
    "wavtokenizer_large_unify_40": ("wavtokenizer_40", "wavtokenizer_large_unify_600_24k.ckpt", with_critics),
    "xcodec_hubert_librispeech": ("xcodec_hubert_general", "xcodec_speech_hubert_librispeech.pth", STRAYS.__ror__),
    "xcodec_wavlm_more_data": ("xcodec_wavlm", "xcodec_speech_wavlm_more_data.pth", STRAYS.__ror__),
    "xcodec2": ("xcodec2", "epoch=4-step=1400000.ckpt", with_speakers),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WRAPPINGS)
def test_the_published_file_loads(name: str, tmp_path):
    golden, file, wrap = WRAPPINGS[name]
    weights = {key: torch.ones(()).expand(shape) for key, shape, _ in golden_spec(golden)["keys"]}  # small in a file
    if file.endswith("safetensors"):
        save_file({key: tensor.contiguous().to(torch.bfloat16) for key, tensor in weights.items()}, tmp_path / file)
    else:
        torch.save(wrap(weights), tmp_path / file)
    codec = from_official(name.replace("_", "-"), tmp_path / file)
    assert codec.name == name
    assert not codec.training


def configurations() -> dict[str, Any]:
    """The official configurations of all families with one, but SemantiCodec's, which depend on its files."""
    modules = [importlib.import_module(module, "toneme.codecs") for module, _ in FAMILIES.values()]
    return {name: config for module in modules for name, config in getattr(module, "CONFIGS", {}).items()}


def test_every_family_is_tried():
    families = {name.split("_")[0] for name in configurations()}
    assert {name.split("_")[0] for name in WRAPPINGS} == families == {name.split("_")[0] for name in LICENCES}


LICENCES = {  # as the weights' own page or else the project's account of them says; "" where it speaks of its code alone
    "encodec_24khz": "", "dac_44khz": "MIT", "mimi": "CC-BY-4.0", "snac_24khz": "MIT", "speechtokenizer": "",
    "speechtokenizer_snake": "", "dm_codec": "Apache-2.0", "wavtokenizer_large_unify_40": "MIT", "bigcodec": "CC-BY-SA-4.0",
    "xcodec_hubert_general": "", "xcodec_wavlm_mls": "", "xcodec2": "CC-BY-NC-4.0",
}  # fmt: skip


def test_licences_are_the_stated_ones():
    found = {name: config.licence for name, config in configurations().items()}
    assert {name: found[name] for name in LICENCES} == LICENCES
    for name, licence in found.items():  # of one family all have the same, save where the table says otherwise
        assert LICENCES.get(name, licence) == licence
        assert licence in {stated for known, stated in LICENCES.items() if known.split("_")[0] == name.split("_")[0]}


def test_a_converted_codec_that_forbids_commercial_use_is_asked_about(tmp_path):
    restricted = {name for name, licence in LICENCES.items() if RESTRICTED.search(licence)}
    assert restricted == {"xcodec2"}
    kind, config = CODECS["xcodec2"]
    kind(dataclasses.replace(config, licence=LICENCES["xcodec2"]), "xcodec2").save(tmp_path)
    assert licence_of(tmp_path) == "CC-BY-NC-4.0"
