"""Losses beside the official code's: values and gradients on the same waveforms and features."""

import importlib.util
from pathlib import Path

import pytest
import torch

from toneme.recipes.losses import Balancer, build_loss
from toneme.recipes.losses.pqmf import PQMF

_SPEC = importlib.util.spec_from_file_location("recipes_official", Path(__file__).parents[1] / "official.py")
_OFFICIAL = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_OFFICIAL)
made, golden, check_close = _OFFICIAL.made, _OFFICIAL.golden, _OFFICIAL.check_close

RECONSTRUCTION = {
    "mel_dac": {"sample_rate": 24000},
    "mel_bigcodec": {"sample_rate": 16000},
    "mel_encodec": {"sample_rate": 24000},
    "mel_vocos": {"sample_rate": 24000},
    "mel_speechtokenizer": {"sample_rate": 16000},
    "stft": {},
    "stft_bands": {},
    "stft_dac": {},
    "si_sdr": {},
}


@pytest.mark.parametrize("name", RECONSTRUCTION)
def test_a_loss_of_waveforms_equals_the_official_one(name):
    expected = golden("reconstruction")
    target, estimate = made.waveforms(4800, batch=2)
    estimate.requires_grad_()
    value = build_loss(name, **RECONSTRUCTION[name])(estimate, target)
    (gradient,) = torch.autograd.grad(value, estimate)
    check_close(value.item(), expected[name], 1e-4)
    # the gradient of a mean absolute difference jumps where two numbers are nearly equal: a few entries may differ
    error = (gradient - torch.from_numpy(expected[f"{name}_gradient"])).norm()
    assert error <= 5e-3 * gradient.norm()


def test_pqmf_bands_equal_the_official_ones():
    check_close(PQMF(6)(made.waveforms(4800)[0]), golden("reconstruction")["pqmf"])


@pytest.mark.parametrize(("name", "settings"), [("d_axis", {}), ("t_axis", {"similarity": 2.0})])
def test_distillation_equals_speechtokenizers(name, settings):
    expected, features = golden("teachers"), made.values("features", (2, 50, 24)).requires_grad_()
    teacher = made.values("teacher", (2, 48, 24)) + 0.5 * features.detach()[:, :48]
    value = build_loss(name, **settings)(features, teacher)
    (gradient,) = torch.autograd.grad(value, features)
    check_close(value.item(), expected[name])
    check_close(gradient, expected[f"{name}_gradient"])


@pytest.mark.parametrize("key", ["item", "batch"])
def test_the_balancer_equals_audiocrafts(key):
    expected = golden("balancer")
    balancer = Balancer({"square": 1.0, "absolute": 3.0}, per_item=key == "item", decay=0.9)
    for step in range(3):
        leaf = made.values(f"output {step}", (4, 1, 20)).requires_grad_()
        output = leaf * 1.0
        losses = {"square": output.square().mean(), "absolute": 10 * (output - 0.3).abs().mean()}
        check_close(balancer.backward(losses, output).item(), expected[f"effective_{key}"][step])
        check_close(leaf.grad, expected[f"gradients_{key}"][step])
    check_close([balancer.shares["square"], balancer.shares["absolute"]], expected[f"shares_{key}"])
