"""The model in the package: its limits, and that speech comes through; a worse one must not replace it unnoticed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import toneme
from toneme.codecs.audio import read_audio
from toneme.codecs.registry import find_folder
from toneme.eval.metrics.mel_distance import mel_distance
from toneme.eval.metrics.pesq import pesq
from toneme.eval.metrics.si_sdr import si_sdr
from toneme.eval.metrics.stoi import stoi


@pytest.fixture(scope="module")
def codec():
    return toneme.load("default")


def rebuilt(codec, waveform: torch.Tensor, depth: int) -> torch.Tensor:
    return codec.decode(codec.encode(waveform[None], codebooks=depth))[0]


def test_it_is_within_the_limits_of_its_size_and_rate(codec):
    folder = Path(find_folder("default"))
    assert sum(path.stat().st_size for path in folder.iterdir()) < 25e6
    assert sum(p.numel() for p in codec.parameters()) < 12e6
    assert codec.spec.frame_rate <= 50
    assert codec.spec.codebook_sizes == (1024,) * 8
    assert codec.spec.latency <= 0.080 * codec.spec.sample_rate
    assert codec.spec.licence == "Apache-2.0"
    assert codec.spec.roles == ("semantic",) + ("acoustic",) * 7


def test_made_speech_comes_through_and_more_codebooks_are_better(codec, speech):
    scores = [stoi(rebuilt(codec, speech, depth)[0], speech[0], 24000) for depth in (1, 2, 4, 8)]
    assert scores == sorted(scores)
    assert scores[-1] > 0.75  # a voice of espeak-ng, unlike any it was trained on
    assert si_sdr(rebuilt(codec, speech, 8), speech).item() > 0


def test_streaming_equals_offline_at_full_size(codec, speech):
    whole = codec.encode(speech[None])
    encoder, decoder = codec.stream_encoder(), codec.stream_decoder()
    pieces = [encoder.push(part) for part in speech[None].split(1000, dim=-1)] + [encoder.flush()]
    codes = torch.cat(pieces, dim=-1)
    # matrix products over other shapes round otherwise, and a near tie may fall the other way
    assert (codes != whole.codes).float().mean() < 0.002
    sound = [decoder.push(part) for part in whole.codes.split(3, dim=-1)] + [decoder.flush(speech.shape[-1])]
    torch.testing.assert_close(torch.cat(sound, dim=-1), codec.decode(whole), atol=1e-4, rtol=0)


def test_every_codebook_is_in_use(codec, samples):
    used = torch.zeros(8, 1024, dtype=torch.bool)
    for path in sorted(samples.glob("*.flac")):
        codes = codec.encode(*read_audio(path)).codes[0]
        used |= torch.nn.functional.one_hot(codes, 1024).bool().any(1)
    assert (used.sum(1) > 100).all()


@pytest.mark.slow
def test_recorded_speech_is_as_the_model_card_says(codec, corpus):
    if corpus is None:
        pytest.skip("no recordings here: set TONEME_CORPUS to have this checked")
    wide, clear, far = [], [], []
    for path in sorted((corpus / "eval" / "speech").glob("*.flac"))[::5]:
        target = read_audio(path, 24000)[0]
        estimate = rebuilt(codec, target, 8)
        wide.append(pesq(estimate[0], target[0], 24000))
        clear.append(stoi(estimate[0], target[0], 24000))
        far.append(mel_distance(estimate, target, 24000).item())
    assert sum(wide) / len(wide) > 2.6
    assert sum(clear) / len(clear) > 0.93
    assert sum(far) / len(far) < 1.0


@pytest.mark.slow
def test_the_first_code_tells_digits_of_speakers_that_a_classifier_did_not_hear(corpus):
    if corpus is None:
        pytest.skip("no recordings here: set TONEME_CORPUS to have this checked")
    script = Path(__file__).parents[2] / "benchmarks" / "first_code.py"
    command = [sys.executable, "-P", str(script), "default", "--data", str(corpus)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    shares = {kind: float(share) for kind, share in re.findall(r"\| (whole|for the teacher) \| ([\d.]+) % \|", done.stdout)}
    assert shares["whole"] > 62  # a codebook for sound alone had 55, the teacher's features have 69
    assert shares["for the teacher"] > 62
