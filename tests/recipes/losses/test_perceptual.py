"""The perceptual loss: closed forms, level, silence, and beside PESQ itself: its ranking, and where its gradient leads."""

import pytest
import torch
from torch import Tensor

from toneme.codecs.audio import read_audio
from toneme.codecs.audio_resampling import resample
from toneme.codecs.registry import load
from toneme.eval.metrics.pesq import pesq
from toneme.recipes.losses import build_loss
from toneme.recipes.losses.perceptual import bark, bark_filters, hertz_of, threshold_of_hearing

RATE = 24000


def noise(like: Tensor, snr: float) -> Tensor:
    drawn = torch.randn(like.shape, generator=torch.Generator().manual_seed(0))
    return drawn * like.norm() / drawn.norm() * 10 ** (-snr / 20)


def low_passed(waveform: Tensor, hertz: float) -> Tensor:
    bins = torch.fft.rfft(waveform)
    bins[..., int(hertz * waveform.shape[-1] / RATE) :] = 0
    return torch.fft.irfft(bins, waveform.shape[-1])


@pytest.fixture
def second(speech) -> Tensor:
    """A second of made speech [1, 1, samples]."""
    return speech[None, :, :RATE]


@pytest.fixture
def loss() -> torch.nn.Module:
    return build_loss("perceptual", sample_rate=RATE)


def test_gains_cost_nothing(loss, second):
    assert loss(second, second).item() == 0
    for gain in (-1.0, 1e-3, 100.0):
        assert loss(gain * second, second).item() == pytest.approx(0, abs=1e-4)
        estimate = second + noise(second, 20)
        assert loss(gain * estimate, second).item() == pytest.approx(loss(estimate, second).item(), rel=1e-3)


def test_40_db_at_1_khz_is_a_sone_and_10_db_more_a_factor(loss):
    band = int((hertz_of(torch.linspace(*bark(torch.tensor([100.0, 8000.0])), 50)) < 1000).sum()) - 1
    powers = torch.tensor([1e4, 1e6, 1e7])[:, None].expand(3, 49)
    sones = loss.loudness(powers)[:, band]
    assert sones[0].item() == pytest.approx(1, rel=0.02)  # the band's middle is not at 1 kHz exactly
    assert (sones[2] / sones[1]).item() == pytest.approx(10**0.23, rel=0.03)


def test_what_lies_below_the_threshold_is_not_heard(loss):
    assert not loss.loudness(0.99 * loss.threshold[None]).any()
    assert loss.loudness(2 * loss.threshold[None]).min() > 0


def test_terhardts_threshold_is_lowest_where_ears_are_best():
    hertz = torch.arange(100.0, 8000.0, 10.0)
    assert hertz[threshold_of_hearing(hertz).argmin()].item() == pytest.approx(3300, abs=100)
    assert threshold_of_hearing(torch.tensor(1000.0)).log10().item() == pytest.approx(0.337, abs=0.01)


def test_bands_share_out_every_bin_once():
    hertz, edges = torch.arange(0, 12001, 31.25), bark(torch.tensor([90.0, 500.0, 2000.0, 9000.0]))
    torch.testing.assert_close(hertz_of(edges), torch.tensor([90.0, 500.0, 2000.0, 9000.0]))
    shares = bark_filters(hertz, edges)
    torch.testing.assert_close(shares[4:288].sum(1), torch.ones(284))
    assert not shares[:2].any()
    assert not shares[290:].any()


def test_what_is_added_costs_more_than_what_is_missing(loss, second):
    muffled = low_passed(second, 2000)
    assert loss(second, muffled).item() > 1.5 * loss(muffled, second).item()


def test_gradients_at_silence_are_finite(loss, second):
    for estimate, target in ((0 * second, second), (0 * second, 0 * second), (second, 0 * second)):
        estimate = estimate.clone().requires_grad_()
        loss(estimate, target).backward()
        assert estimate.grad.isfinite().all()


def test_the_sample_rate_hardly_matters(loss, second):
    noisy = second + noise(second, 20)
    fine = [resample(x[0], RATE, 16000)[None] for x in (noisy, second)]
    assert build_loss("perceptual", sample_rate=16000)(*fine).item() == pytest.approx(loss(noisy, second).item(), rel=0.05)


def test_channels_and_items_are_heard_by_themselves(loss, second):
    noisy = second + noise(second, 20)
    both = loss(torch.cat([noisy, second], 1), torch.cat([second, second], 1))
    assert both.item() == pytest.approx(loss(noisy, second).item() / 2, rel=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert loss(noisy, second).item() == pytest.approx(2 * both.item(), rel=1e-5)


def test_it_ranks_as_pesq_does(loss, samples):
    stats = pytest.importorskip("scipy.stats", reason="part of the extra eval: pip install toneme[eval]")
    codec, ours, theirs = load("toneme-24k"), [], []
    for name in ("speech.wav", "speech_de.flac"):
        target = read_audio(samples / name)[0][None, :, :RATE]
        tokens = [codec.encode(target, codebooks=depth) for depth in (1, 4, 8)]
        degraded = [target + noise(target, snr) for snr in (0, 10, 20, 30)]
        degraded += [low_passed(target, hertz) for hertz in (1000, 4000)] + [codec.decode(t) for t in tokens]
        ours += [loss(estimate, target).item() for estimate in degraded]
        theirs += [pesq(estimate[0, 0], target[0, 0], RATE) for estimate in degraded]
    assert stats.spearmanr(ours, theirs).statistic < -0.9  # a loss falls where the score rises


def test_its_gradient_leads_to_better_pesq(loss, second):
    estimate = (second + noise(second, 10)).requires_grad_()
    before, optimizer = pesq(estimate.detach()[0, 0], second[0, 0], RATE), torch.optim.Adam([estimate], 2e-3)
    for _ in range(20):
        optimizer.zero_grad()
        loss(estimate, second).backward()
        optimizer.step()
    assert pesq(estimate.detach()[0, 0], second[0, 0], RATE) > before + 0.4
