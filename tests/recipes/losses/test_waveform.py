"""SI-SDR in closed form and beside auraloss."""

import math

import pytest
import torch

from toneme.recipes.losses import build_loss


def test_an_orthogonal_error_of_a_tenth_is_20_db():
    time = torch.arange(1000) * 2 * math.pi / 100
    target, error = time.sin()[None, None], time.cos()[None, None]
    assert build_loss("si_sdr")(3 * (target + 0.1 * error), target).item() == pytest.approx(-20, abs=1e-3)


def test_a_floor_holds_good_losses():
    target = torch.randn(1, 1, 100, generator=torch.Generator().manual_seed(0))
    assert build_loss("si_sdr", floor=-30.0)(target, target).item() == -30


def test_it_equals_auraloss():
    auraloss = pytest.importorskip("auraloss", reason="a peer: pip install auraloss")
    target, estimate = torch.randn(2, 3, 1, 500, generator=torch.Generator().manual_seed(0)).unbind(0)
    ours, theirs = build_loss("si_sdr")(estimate + target, target), auraloss.time.SISDRLoss()(estimate + target, target)
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-4)
