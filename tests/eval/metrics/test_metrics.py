"""The list of metrics: every file of the folder is in it, and its first line says unit and direction."""

import importlib
import pkgutil

import pytest
import torch

from toneme.codecs.errors import AudioError, ShapeError, TonemeError
from toneme.eval import metrics
from toneme.eval.metrics import ALL, OTHER, SPEECH, Metric, all_metrics, pick_metrics

MODULES = [found.name for found in pkgutil.iter_modules(metrics.__path__)]
UNITS = {
    "MOS": "mean opinion score",
    "": "without unit|no unit",
    "dB": "dB",
    "LU": "LU",
    "ms": "ms",
    "cents": "cents",
    "%": "per cent",
}


@pytest.mark.parametrize("name", MODULES)
def test_the_first_line_says_unit_and_direction(name):
    module = importlib.import_module(f"toneme.eval.metrics.{name}")
    assert module.METRICS
    first = (module.__doc__ or "").split("\n\n")[0].replace("\n", " ")
    for metric in module.METRICS:
        wanted = {"higher": "higher is better", "lower": "lower is better", "zero": "nearest to zero is best"}
        assert wanted[metric.better] in first
        assert any(unit in first for unit in UNITS[metric.unit].split("|")), (metric.name, first)


def test_names_are_unique_and_known():
    names = [metric.name for module in MODULES for metric in importlib.import_module(f"toneme.eval.metrics.{module}").METRICS]
    assert sorted(names) == sorted(all_metrics())
    assert list(pick_metrics(["stoi", "pesq_wb"])) == ["pesq_wb", "stoi"]
    with pytest.raises(ShapeError, match="no metric is called 'mos'"):
        pick_metrics(["mos"])


def test_speech_metrics_are_for_speech_and_for_clips_of_unknown_domain():
    def fits(domains):
        metric = Metric(name="a", label="a", unit="", better="lower", group="quality", domains=domains, compute=lambda *_: 0.0)
        return [metric.fits(domain) for domain in ("speech", "music", "")]

    assert fits(SPEECH) == [True, False, True]
    assert fits(OTHER) == [False, True, True]
    assert fits(ALL) == [True, True, True]


@pytest.mark.parametrize("name", ["log_spectral", "mel_distance", "mel_encodec", "stft_distance", "stft_encodec"])
def test_a_clip_shorter_than_a_spectrum_needs_is_said_in_a_sentence(name):
    metric = pick_metrics([name])[name]
    with pytest.raises(AudioError, match=r"a spectrum needs more than \d+ samples of audio; got 24"):
        metric.compute(torch.ones(24), torch.ones(24), 24000)


def test_a_missing_package_or_weight_is_said_and_not_hidden():
    def ready():
        raise TonemeError("weights not available (here)")

    about = {"name": "a", "label": "a", "unit": "", "better": "lower", "group": "quality", "compute": lambda *_: 0.0}
    assert "pip install" in Metric(**about, packages=("no-such-package",)).obstacle()
    assert Metric(**about, ready=ready).obstacle() == "weights not available (here)"
    assert Metric(**about, packages=("torch",)).obstacle() == ""
    assert Metric(**about, packages=("torch",), version=3).full_version.startswith("3, torch 2")
