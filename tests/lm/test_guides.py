"""The guides' own code, run as it stands, with small models in place of downloaded ones."""

import re
from pathlib import Path

import pytest
import torch

from toneme import lm
from toneme.codecs.registry import load
from toneme.lm.tokenizing import tokenize

from .made import make_codec, make_recordings

GUIDES = (Path(__file__).parents[2] / "lm" / "GUIDES.md").read_text()


@pytest.fixture
def names(tmp_path, monkeypatch):
    """What the guides have already: a tokenizer, a model, a speaker, and shards of 4 codebooks by the default codec."""
    tokenizers, transformers = pytest.importorskip("tokenizers"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    folder = make_codec(tmp_path / "tiny")
    monkeypatch.setattr("toneme.codecs.registry.find_folder", lambda name: folder)
    tokenize(make_recordings(tmp_path / "data", 6, longest=0.3), tmp_path / "shards", "default", bitrate=2, workers=0)
    monkeypatch.chdir(tmp_path)
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<unk>": 0, "say": 1, "hello": 2}, unk_token="<unk>"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", pad_token="<unk>", model_input_names=["input_ids", "attention_mask"]
    )
    shape = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=8, **shape))
    heard: list = []
    speaker = type("Speaker", (), {"write": staticmethod(heard.append)})
    return {"tokenizer": tokenizer, "llm": model, "speaker": speaker, "heard": heard}


def test_the_guides_run(names, capsys):
    blocks = re.findall(r"```python\n(.*?)```", GUIDES, re.DOTALL)
    assert len(blocks) == 8
    for block in blocks:
        exec(compile(block, "GUIDES.md", "exec"), names)
    heard = torch.cat(names["heard"], -1)
    assert heard.shape[-1] >= names["waveform"].shape[-1] > 0
    assert capsys.readouterr().out.endswith("0 ids did not belong\n")
    assert names["wanted"].any()
    assert len(names["losses"]) == 5  # text and the agent's codebooks
    assert all(own.weight.grad.abs().sum() > 0 for own in (*names["heads"], *names["outs"][:5]))
    assert all(own.weight.grad is None for own in names["outs"][5:])


def test_the_command_is_the_one_that_there_is(tmp_path, monkeypatch):
    from toneme.cli import run

    command = next(line.split() for line in GUIDES.splitlines() if line.startswith("    codec tokenize"))
    folder = make_codec(tmp_path / "tiny")
    monkeypatch.setattr("toneme.codecs.registry.find_folder", lambda name: folder)
    make_recordings(tmp_path / "recordings", 3)
    monkeypatch.chdir(tmp_path)
    assert run([*command[1:], "--workers", "0"]) == 0
    assert lm.read_shards("shards", load("default")).about.codebooks == 4


def test_every_name_is_there():
    assert all(getattr(lm, name) is not None for name in lm.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Vocabulary'"):
        lm.Vocabulary  # noqa: B018
