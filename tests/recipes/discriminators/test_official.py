"""Every discriminator beside the official one: scores, feature maps, losses, and the gradients of waveform and weights."""

import json

import numpy as np
import pytest
import torch

from toneme.recipes.discriminators import build_discriminator
from toneme.recipes.losses import discriminator_loss, feature_matching, generator_loss

from ..official import GOLDENS, check_close, golden, made

NARROW = [4, 16, 64, 128, 128]
DAC_PERIODS = {
    "name": "multi_period", "periods": [3], "widths": NARROW, "always_pad": True, "leveled": True, "score_map": False,
}  # fmt: skip
VOCOS_PERIODS = {"name": "multi_period", "periods": [5], "widths": NARROW, "first_map": False}
VOCOS_BANDS = {
    "name": "multi_band", "windows": [512], "width": 4, "centered": True, "first_map": False, "score_map": True,
}  # fmt: skip
BIGCODEC_PERIODS = {
    "name": "multi_period", "periods": [3], "widths": [4, 16, 64, 64, 64], "last_kernel": 2, "score_map": False,
}  # fmt: skip
BIGCODEC_SPECTRA = {"name": "multi_spectrogram", "windows": [78, 128], "hops": [39, 32], "width": 4, "widest": 16}
# golden -> (discriminators, adversarial loss, reduction, feature matching, its factor)
CASES = {
    "hifigan_period": ([{"name": "multi_period", "periods": [3, 7], "widths": NARROW}], "least_squares", "sum", "plain", 2),
    "hifigan_scale": ([{"name": "multi_scale", "divide": 8}], "least_squares", "sum", "plain", 2),
    "encodec": ([{"name": "multi_scale_stft", "windows": [256, 512, 128], "width": 4}], "hinge", "mean", "mean", 1),
    "dac": ([DAC_PERIODS, {"name": "multi_band", "windows": [512, 256], "width": 4}], "least_squares", "sum", "plain", 1),
    "vocos010": ([VOCOS_PERIODS, VOCOS_BANDS], "hinge", "sum", "plain", 1),
    "vocos003": ([VOCOS_PERIODS, {"name": "multi_resolution", "windows": [128], "width": 4}], "hinge", "sum", "plain", 1),
    "xcodec": ([{"name": "multi_frequency", "hops": [16, 64], "widths": [32, 64]}], "least_squares", "mean", "mean", 1),
    "bigcodec": ([BIGCODEC_PERIODS, BIGCODEC_SPECTRA], "least_squares", "sum", "plain", 1),
}


LAYOUTS = {
    "hifigan": "hifigan",
    "encodec": [{"name": "multi_scale_stft", "windows": [1024, 2048, 512]}],
    "dac": "dac",
    "vocos": "vocos",
    "vocos003": [VOCOS_PERIODS | {"periods": [2, 3, 5, 7, 11], "widths": [32, 128, 512, 1024, 1024]}, "multi_resolution"],
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_published_sets_have_the_official_layers(name):
    with torch.device("meta"):
        discriminator = build_discriminator(LAYOUTS[name], sample_rate=24000)
    expected = json.loads((GOLDENS / "layouts.json").read_text())[name]
    assert [list(weight.shape) for weight in discriminator.parameters()] == expected


@pytest.mark.parametrize("name", CASES)
def test_it_equals_the_official_code(name):
    entries, kind, reduce, matching, factor = CASES[name]
    expected = golden(f"discriminator_{name}")
    discriminator = made.set_weights(build_discriminator(entries, sample_rate=16000))
    real, fake = made.waveforms(int(expected["samples"]))
    fake.requires_grad_()
    theirs, ours = discriminator(real), discriminator(fake)
    for index, (score, maps) in enumerate(ours):
        check_close(score.detach().flatten(), expected[f"score_{index}"])
        check_close(np.stack([made.fingerprint(m) for m in maps]), expected[f"maps_{index}"])
    losses = [generator_loss(ours, kind, reduce), discriminator_loss(theirs, ours, kind, reduce)]
    losses.append(factor * feature_matching(theirs, ours, matching))
    check_close([loss.item() for loss in losses], expected["losses"])
    (gradient,) = torch.autograd.grad(losses[0] + 2 * losses[2], fake, retain_graph=True)
    check_close(gradient, expected["gradient"], 1e-3)
    gradients = torch.autograd.grad(losses[1], list(discriminator.parameters()))
    check_close(np.stack([made.fingerprint(g) for g in gradients]), expected["weights"], 1e-3)
