"""Losses beside the official code's: values and gradients on the same waveforms and features."""

import pytest
import torch

from toneme.recipes.losses import Balancer, build_loss
from toneme.recipes.losses.pqmf import PQMF

from ..official import check_close, golden, made

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
    target, estimate = made.waveforms(2400, batch=2)
    estimate.requires_grad_()
    value = build_loss(name, **RECONSTRUCTION[name])(estimate, target)
    (gradient,) = torch.autograd.grad(value, estimate)
    check_close(value.item(), expected[name], 1e-4)
    # the gradient of a mean absolute difference jumps where two magnitudes are nearly equal: waveforms that differ by one
    # part in 1e7 have gradients of stft_dac that differ by 0.3 %, and a float32 transform rounds as much
    error = (gradient - torch.from_numpy(expected[f"{name}_gradient"])).norm()
    assert error <= 1e-2 * gradient.norm()


def test_pqmf_bands_equal_the_official_ones():
    check_close(PQMF(6)(made.waveforms(2400)[0]), golden("reconstruction")["pqmf"])


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
