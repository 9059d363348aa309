"""F0 error, in cents, lower is better; and F1 of voicing decisions, from 0 to 1 without unit, higher is better.

F0 and voicing of both signals are tracked by YIN (de Cheveigne and Kawahara, "YIN, a fundamental frequency estimator for
speech and music", 2002, steps 1 to 5) at 16 kHz: 60 to 500 Hz, windows of 40 ms every 10 ms, absolute threshold 0.15; a frame
is voiced where its aperiodicity is below 0.25 and its level within 50 dB of the loudest frame. Nothing is smoothed over time.
The error is the root mean square, in cents, over frames that are voiced in both; F1 takes voiced frames for the positive ones.
"""

import torch
from torch import Tensor

from ...codecs.errors import AudioError, ShapeError
from . import SPEECH, Metric, check_same_shape

RATE, WINDOW, HOP = 16000, 640, 160  # Hz, samples, samples
LOWEST, HIGHEST = 60, 500  # Hz
THRESHOLD, APERIODIC, QUIET = 0.15, 0.25, 1e-5  # QUIET is 50 dB, as a ratio of energies


def track_pitch(waveform: Tensor) -> tuple[Tensor, Tensor]:
    """Return F0 in Hz and whether it is voiced, both [frames], of a waveform [time] at 16 kHz.

    Frame i lies over the samples from 160 i on; the last that is whole is the last.

    Raises:
        AudioError: if the waveform is shorter than a frame.
    """
    longest, shortest = RATE // LOWEST, RATE // HIGHEST
    if len(waveform) < WINDOW + longest + 1:
        raise AudioError(f"pitch needs {(WINDOW + longest + 1) / RATE:.3f} s of audio; got {len(waveform) / RATE:.3f} s")
    frames = waveform.double().unfold(0, WINDOW + longest + 1, HOP)
    normalised = _normalised_difference(frames, longest)
    lags = _first_dip(normalised, shortest, longest)
    aperiodicity = normalised.gather(1, lags[:, None])[:, 0]
    energy = frames[:, :WINDOW].square().sum(1)
    voiced = (aperiodicity < APERIODIC) & (energy > QUIET * energy.max())
    return RATE / (lags + _parabola(normalised, lags)), voiced


def _normalised_difference(frames: Tensor, longest: int) -> Tensor:
    """Return the cumulative-mean-normalised difference [frames, longest + 2] of frames for lags from 0 on."""
    size = 2 * WINDOW
    spectrum = torch.fft.rfft(frames, size)
    head = torch.fft.rfft(frames[:, :WINDOW], size)
    products = torch.fft.irfft(spectrum * head.conj(), size)[:, : longest + 2]
    sums = torch.nn.functional.pad(frames.square().cumsum(1), (1, 0))
    energies = sums[:, WINDOW : WINDOW + longest + 2] - sums[:, : longest + 2]
    difference = (energies[:, :1] + energies - 2 * products).clamp(min=0)
    means = difference[:, 1:].cumsum(1) / torch.arange(1, longest + 2, dtype=difference.dtype)
    return torch.cat([torch.ones_like(difference[:, :1]), difference[:, 1:] / means.clamp(min=1e-20)], dim=1)


def _first_dip(normalised: Tensor, shortest: int, longest: int) -> Tensor:
    """Return the first local minimum below the threshold of each row, or its least value where there is none."""
    part = normalised[:, shortest : longest + 1]
    before, after = normalised[:, shortest - 1 : longest], normalised[:, shortest + 1 : longest + 2]
    dips = (part < THRESHOLD) & (part <= before) & (part < after)
    first = torch.where(dips.any(1), dips.int().argmax(1), part.argmin(1))
    return first + shortest


def _parabola(values: Tensor, at: Tensor) -> Tensor:
    """Return where, within half a step of `at`, a parabola through three values has its least."""
    left, middle, right = (values.gather(1, (at + shift)[:, None])[:, 0] for shift in (-1, 0, 1))
    curve = left - 2 * middle + right
    shift = torch.where(curve > 0, (left - right) / (2 * curve.clamp(min=1e-12)), torch.zeros_like(curve))
    return shift.clamp(-0.5, 0.5)


def f0_error(estimate: Tensor, target: Tensor, sample_rate: int = RATE) -> float:
    """Return the F0 error in cents of an estimate [time] at 16 kHz.

    Raises:
        AudioError: if no frame is voiced in both.
        ShapeError: if the shapes differ or the rate is another.
    """
    (ours, voiced_ours), (theirs, voiced_theirs) = _both(estimate, target, sample_rate)
    both = voiced_ours & voiced_theirs
    if not bool(both.any()):
        raise AudioError("no frame is voiced in both signals, so the F0 error is undefined: leave this clip out and say so")
    return (1200 * (ours[both] / theirs[both]).log2()).square().mean().sqrt().item()


def voicing_f1(estimate: Tensor, target: Tensor, sample_rate: int = RATE) -> float:
    """Return F1 of the voicing of an estimate [time] at 16 kHz.

    Raises:
        AudioError: if no frame of the target is voiced.
        ShapeError: if the shapes differ or the rate is another.
    """
    (_, ours), (_, theirs) = _both(estimate, target, sample_rate)
    if not bool(theirs.any()):
        raise AudioError("no frame of the target is voiced, so F1 of voicing is undefined: leave this clip out and say so")
    return 2 * int((ours & theirs).sum()) / int(ours.sum() + theirs.sum())


def _both(estimate: Tensor, target: Tensor, sample_rate: int) -> list[tuple[Tensor, Tensor]]:
    check_same_shape(estimate, target)
    if sample_rate != RATE:
        raise ShapeError(f"pitch is tracked at {RATE} Hz; got {sample_rate}: resample first")
    return [track_pitch(x) for x in (estimate, target)]


METRICS = (
    Metric(
        name="f0_error", label="F0 error", unit="cents", better="lower", group="pitch",
        compute=f0_error, sample_rate=RATE, domains=SPEECH,
    ),
    Metric(
        name="voicing_f1", label="V/UV F1", unit="", better="higher", group="pitch",
        compute=voicing_f1, sample_rate=RATE, domains=SPEECH,
    ),
)  # fmt: skip
