"""Folders of models: written, read, damaged, and tokens of other codecs."""

import json
from types import SimpleNamespace

import pytest
import torch

from toneme.codecs.errors import CheckpointError
from toneme.lm.models.base import load
from toneme.lm.models.config import LanguageConfig

from .made import batch, make_model


@pytest.mark.parametrize("kind", ["delay", "depth", "masked"])
def test_a_saved_model_is_the_same(kind, tmp_path):
    model = make_model(kind).eval()
    model.save(tmp_path)
    again = load(tmp_path)
    assert again.config == model.config
    torch.manual_seed(1)
    loss = model.loss(*batch())
    torch.manual_seed(1)
    assert torch.equal(again.loss(*batch()), loss)
    assert json.loads((tmp_path / "config.json").read_text())["config"]["weights_hash"] == "hash"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_what_an_editor_wrote_is_read(tmp_path, encoding):
    make_model("delay").save(tmp_path)
    told = json.loads((tmp_path / "config.json").read_text())
    told["config"]["codec"] = "m\u00fcller"
    (tmp_path / "config.json").write_text(json.dumps(told, ensure_ascii=False), encoding=encoding)
    assert load(tmp_path).config.codec == "m\u00fcller"


def test_tokens_of_another_codec_are_refused():
    model = make_model("delay")
    model.check(SimpleNamespace(codec="tiny", weights_hash="hash"), "x.tok")
    model.check(SimpleNamespace(name="tiny", weights_hash="hash"), "a codec")
    for codec, weights in (("other", "hash"), ("tiny", "another")):
        with pytest.raises(CheckpointError, match=f"tokens of tiny with weights hash, and x.tok is of {codec} with"):
            model.check(SimpleNamespace(codec=codec, weights_hash=weights), "x.tok")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"family": "toneme"}', '{"family": "language", "version": 9}'])
def test_folders_of_something_else_are_refused(content, tmp_path):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"is no language model|and language 1 was expected"):
        load(tmp_path)


def test_shapes_that_cannot_be_are_refused():
    for wrong, message in (
        ({"kind": "x"}, "one of delay, depth, masked; got 'x'"),
        ({"width": 30}, "width must be a multiple of twice the 4 heads; got 30"),
        ({"sizes": ()}, "needs codebooks"),
        ({"labels": ("a",), "text": True}, "labels or text, not both"),
    ):
        with pytest.raises(CheckpointError, match=message):
            LanguageConfig(**{"kind": "delay", "codec": "c", "weights_hash": "h", "frame_rate": 50.0, "sizes": (4,), **wrong})
