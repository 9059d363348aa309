"""The intelligibility loss: beside pystoi, level, silence, faint frames, short clips, and where its gradient leads."""

import pytest
import torch
from torch import Tensor

from toneme.codecs.registry import load
from toneme.recipes.errors import RecipeError
from toneme.recipes.losses import build_loss
from toneme.recipes.losses.intelligibility import third_octaves

RATE = 24000


def noise(like: Tensor, snr: float) -> Tensor:
    drawn = torch.randn(like.shape, generator=torch.Generator().manual_seed(0))
    return drawn * like.norm() / drawn.norm() * 10 ** (-snr / 20)


@pytest.fixture
def seconds(speech) -> Tensor:
    """Two seconds of made speech [1, 1, samples]."""
    return speech[None, :, : 2 * RATE]


@pytest.fixture
def loss() -> torch.nn.Module:
    return build_loss("intelligibility", sample_rate=RATE)


def test_it_is_one_minus_stoi(loss, seconds):
    # Windows in seconds instead of samples of 10 kHz, and faint frames left out of envelopes instead of the waveform.
    pystoi = pytest.importorskip("pystoi", reason="part of the extra eval: pip install toneme[eval]")
    codec = load("toneme-24k")
    degraded = [seconds + noise(seconds, snr) for snr in (-5, 0, 10, 20)]
    degraded += [codec.decode(codec.encode(seconds, codebooks=depth)) for depth in (1, 4, 8)]
    for estimate in degraded:
        theirs = pystoi.stoi(seconds[0, 0].numpy(), estimate[0, 0].numpy(), RATE)
        assert 1 - loss(estimate, seconds).item() == pytest.approx(theirs, abs=0.03)


def test_bands_are_those_of_pystoi():
    utils = pytest.importorskip("pystoi.utils", reason="part of the extra eval: pip install toneme[eval]")
    theirs, _ = utils.thirdoct(10000, 512, 15, 150)
    torch.testing.assert_close(third_octaves(torch.arange(257) * 10000 / 512).T, torch.from_numpy(theirs).float())


def test_gains_cost_nothing(loss, seconds):
    assert loss(seconds, seconds).item() == pytest.approx(0, abs=1e-5)
    noisy = seconds + noise(seconds, 5)
    for gain in (-1.0, 0.1, 10.0):
        assert loss(gain * noisy, seconds).item() == pytest.approx(loss(noisy, seconds).item(), abs=1e-3)


def test_faint_frames_do_not_count(loss, seconds):
    silence = torch.zeros(1, 1, RATE)
    target = torch.cat([seconds, silence, seconds], -1)
    clean = torch.cat([seconds + noise(seconds, 5), silence, seconds], -1)
    hissing = torch.cat([clean[..., : 2 * RATE], silence + 1e-3, clean[..., 3 * RATE :]], -1)
    assert loss(hissing, target).item() == pytest.approx(loss(clean, target).item(), abs=0.01)


def test_what_is_too_short_or_silent_counts_nothing(loss, seconds):
    for samples in (0, 1, 1000, 7200):
        estimate = noise(seconds, 0)[..., :samples].requires_grad_()
        value = loss(estimate, seconds[..., :samples])
        value.backward()
        assert value.item() == 0
        assert not estimate.grad.any()


def test_gradients_at_silence_are_finite(loss, seconds):
    for estimate, target in ((0 * seconds, seconds), (0 * seconds, 0 * seconds), (seconds, 0 * seconds), (seconds, seconds)):
        estimate = estimate.clone().requires_grad_()
        loss(estimate, target).backward()
        assert estimate.grad.isfinite().all()


def test_a_rate_without_the_upper_bands_is_refused():
    with pytest.raises(RecipeError, match="must be 10000 Hz at least; got 8000"):
        build_loss("intelligibility", sample_rate=8000)


def test_a_short_item_leaves_the_others_as_they_are(loss, seconds):
    noisy = seconds + noise(seconds, 5)
    brief = torch.cat([seconds[..., :4800], torch.zeros(1, 1, 2 * RATE - 4800)], -1)
    both = loss(torch.cat([noisy, brief]), torch.cat([seconds, brief]))
    assert both.item() == pytest.approx(loss(noisy, seconds).item(), rel=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert loss(noisy, seconds).item() == pytest.approx(both.item(), rel=1e-5)


def test_its_gradient_leads_to_better_stoi(loss, seconds):
    pystoi = pytest.importorskip("pystoi", reason="part of the extra eval: pip install toneme[eval]")
    estimate = (seconds + noise(seconds, 0)).requires_grad_()
    optimizer = torch.optim.Adam([estimate], 2e-3)

    def stoi() -> float:
        return pystoi.stoi(seconds[0, 0].numpy(), estimate.detach()[0, 0].numpy(), RATE)

    before = stoi()
    for _ in range(20):
        optimizer.zero_grad()
        loss(estimate, seconds).backward()
        optimizer.step()
    assert stoi() > before + 0.05
