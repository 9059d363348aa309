"""OFFICIAL.md: every name has its file, and the code runs as it stands with the package that it is about."""

import re
from pathlib import Path

import pytest
import torch

import toneme
from toneme.codecs import snac as own_snac
from toneme.codecs.layers.dac_blocks import DacBlocksConfig
from toneme.codecs.registry import official_names
from toneme.recipes.models import PUBLISHED

PAGE = (Path(__file__).parents[2] / "codecs" / "OFFICIAL.md").read_text()
ROWS = [row.split(" | ") for row in re.findall(r"^\| `(.*) \|$", PAGE.split("## ")[0], re.MULTILINE)]


def test_every_official_name_has_a_row():
    named = {name for row in ROWS for name in re.findall(r"\w+", row[0]) if not name.startswith("_")}
    named |= {f"semanticodec{rate}" for rate in ("_100", "_50", "_25")}
    assert named == {re.sub(r"^(semanticodec_\d+)_\d+$", r"\1", name) for name in official_names()}


def test_what_recipes_fetch_is_what_the_page_says():
    for name, (repository, _) in PUBLISHED.items():
        (row,) = (row for row in ROWS if name in re.findall(r"\w+", row[0]))
        assert f"`{repository}`" in row[-1] or repository.rpartition("_")[0] in row[1]


def test_the_code_runs(monkeypatch):
    snac = pytest.importorskip("snac", reason="the peers extra is not installed")
    torch.manual_seed(0)
    config = own_snac.SnacConfig(8000, DacBlocksConfig(8, (2, 4), 32, 32, depthwise=True, noise=True), (4, 2, 1), 32, 4)
    monkeypatch.setitem(own_snac.CONFIGS, "snac_24khz", config)
    model = snac.SNAC(8000, 8, [2, 4], None, 32, [4, 2], None, 32, 4, [4, 2, 1], depthwise=True).eval()
    names = {"toneme": toneme, "model": model, "audio": 0.1 * torch.randn(2, 1, 1001)}
    with torch.inference_mode():
        exec(compile(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0], "OFFICIAL.md", "exec"), names)
        assert model.decode(names["back"]).shape[-1] >= 1001
    assert names["waveform"].shape == names["audio"].shape
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(names["back"], names["theirs"], strict=True))
