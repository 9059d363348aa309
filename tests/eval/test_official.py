"""The suite's own numbers of a file beside those of the official tools, which read the same file and what a command wrote."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch

from toneme.eval.clips import find_clips
from toneme.eval.commands import command_systems
from toneme.eval.jobs import Cache, run_jobs
from toneme.eval.suite import Setup, make_suite

from .signals import DAC

METRICS = (
    "pesq_wb", "pesq_nb", "stoi", "estoi", "si_sdr", "loudness_difference", "log_spectral", "mel_distance", "stft_distance",
    "visqol_speech",
)  # fmt: skip
WEAR = """
import sys, numpy, soundfile
audio, rate = soundfile.read(sys.argv[1])
soundfile.write(sys.argv[2], 0.8 * audio + 0.1 * numpy.roll(audio, 480), rate, "FLOAT")
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory, samples):
    """The suite's values of a recording, and, as arrays at 24 kHz, what a command made of it and itself."""
    root = tmp_path_factory.mktemp("official")
    (root / "data" / "speech").mkdir(parents=True)
    (root / "wear.py").write_text(WEAR)
    clip = Path(shutil.copy(samples / "speech.wav", root / "data" / "speech"))
    (system,) = command_systems(f"worn: {sys.executable} {root / 'wear.py'} {{in}} {{wav}} && cp {{wav}} {root / 'kept.wav'}")
    suite = make_suite("reconstruction", Setup((system,), tuple(find_clips(root / "data", {".wav"})), 24000, METRICS, 0))
    cache = Cache(root / "cache.sqlite")
    findings = suite.find(run_jobs([job for job in suite.jobs() if not job.alone], cache))
    cache.close()
    (detail,) = findings.details["clips"]
    assert not detail["failures"]
    return detail["values"], soundfile.read(root / "kept.wav")[0], soundfile.read(clip)[0]


def at(rate, *signals):
    return [soxr.resample(signal, 24000, rate, quality="VHQ") for signal in signals]


def test_pesq_and_pystoi(pair):
    values, estimate, target = pair
    pesq, pystoi = pytest.importorskip("pesq").pesq, pytest.importorskip("pystoi").stoi
    for name, rate, band in (("pesq_wb", 16000, "wb"), ("pesq_nb", 8000, "nb")):
        ours, theirs = at(rate, estimate, target)
        assert values[name] == pytest.approx(pesq(rate, theirs, ours, band), abs=2e-3)  # it computes in single precision
    ours, theirs = at(10000, estimate, target)
    for name in ("stoi", "estoi"):
        assert values[name] == pytest.approx(pystoi(theirs, ours, 10000, extended=name == "estoi"), abs=1e-4)


def test_visqol(pair):
    values, estimate, target = pair
    api = pytest.importorskip("visqol.api", reason="ViSQOL needs the package visqol-python, which compiles libsvm")
    scorer = api.VisqolApi()
    scorer.create(mode="speech", use_lattice_model=False)
    ours, theirs = at(16000, estimate, target)
    assert values["visqol_speech"] == pytest.approx(scorer.measure_from_arrays(theirs, ours, 16000).moslqo, abs=2e-3)


def test_si_sdr_of_torchmetrics_and_loudness_of_pyloudnorm(pair):
    values, estimate, target = pair
    audio, loudness = pytest.importorskip("torchmetrics.functional.audio"), pytest.importorskip("pyloudnorm")
    pairs = (torch.from_numpy(signal) for signal in (estimate, target))
    theirs = audio.scale_invariant_signal_distortion_ratio(*pairs, zero_mean=True)
    assert values["si_sdr"] == pytest.approx(theirs.item(), abs=1e-3)
    meter = loudness.Meter(48000)
    levels = [meter.integrated_loudness(signal) for signal in at(48000, estimate, target)]
    assert values["loudness_difference"] == pytest.approx(levels[0] - levels[1], abs=0.02)


def test_spectra_of_librosa(pair):
    values, estimate, target = pair
    librosa = pytest.importorskip("librosa")
    ours, theirs = (
        librosa.amplitude_to_db(
            np.abs(librosa.stft(signal, n_fft=2048, hop_length=512, pad_mode="reflect")), amin=1e-5 * 512, top_db=None
        )
        for signal in (estimate, target)
    )
    assert values["log_spectral"] == pytest.approx(np.sqrt(np.square(ours - theirs).mean(0)).mean(), rel=1e-3)


def test_distances_of_dac(pair):
    """The goldens are of descript-audiotools and DAC's own code, which cannot be installed beside the other packages."""
    expected = json.loads(DAC.read_text())
    for name in ("mel_distance", "stft_distance"):
        assert pair[0][name] == pytest.approx(expected[name], rel=1e-3)
