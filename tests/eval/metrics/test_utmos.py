"""UTMOS: any TorchScript file in its place is run on the estimate at 16 kHz; where there is none, that is said."""

import pytest
import torch

from toneme.eval import weights
from toneme.eval.metrics.utmos import FILE, METRICS, utmos

from ..signals import tone


class Loudest(torch.nn.Module):
    """Scores audio [batch, samples] by its largest sample."""

    def forward(self, audio):
        return audio.amax(1)


def test_it_runs_the_file_of_ones_own_folder(monkeypatch, tmp_path):
    (tmp_path / "utmos").mkdir()
    torch.jit.trace(Loudest(), torch.zeros(1, 16000)).save(tmp_path / "utmos" / FILE)
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path))
    weights.find_weights.cache_clear()
    assert METRICS[0].obstacle() == ""
    assert utmos(0.25 * tone(200), tone(200)) == pytest.approx(0.25, abs=1e-3)
    weights.find_weights.cache_clear()


def test_missing_weights_are_an_obstacle(monkeypatch, tmp_path):
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path))
    monkeypatch.setattr(weights, "_from_hub", lambda *_: None)
    weights.find_weights.cache_clear()
    assert METRICS[0].obstacle() == f"weights not available ({FILE} in $TONEME_WEIGHTS/utmos or balacoon/utmos on the hub)"
    weights.find_weights.cache_clear()
