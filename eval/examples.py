"""Examples in the report: short pieces of audio to listen to and their spectrograms."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import soundfile
from torch import Tensor

from ..codecs.audio_resampling import resample
from .clips import Clip
from .jobs import Job, Results
from .spectrogram import spectrogram_png
from .systems import System

SECONDS = 5.0


@dataclass(frozen=True)
class ExampleJob(Job):
    """The first seconds of a clip as a system gives them back (the clip itself for no system), and their spectrogram."""

    system: System | None
    clip: Clip
    sample_rate: int

    @property
    def keys(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The one key."""
        return (example_key(self.system, self.clip, self.sample_rate),)

    def run(self, wanted: frozenset[str], device: str) -> Results:
        """Return FLAC and PNG in base 64."""
        waveform, rate = self.clip.read()
        if self.system:
            rebuilt = self.system.rebuild_clip(self.clip, waveform, rate, device)
            waveform, rate = rebuilt.audio, rebuilt.sample_rate
        audio = resample(waveform, rate, self.sample_rate)[: int(SECONDS * self.sample_rate)]
        return {
            self.keys[0]: {"flac": _text(flac(audio, self.sample_rate)), "png": _text(spectrogram_png(audio, self.sample_rate))}
        }


def example_key(system: System | None, clip: Clip, sample_rate: int) -> str:
    """Return the key of an example."""
    return f"example 1|{system.identity if system else 'original'}|{clip.digest} {clip.seconds}|{sample_rate}"


def flac(waveform: Tensor, sample_rate: int) -> bytes:
    """Return a waveform [time] as a 16-bit FLAC file."""
    file = io.BytesIO()
    soundfile.write(file, waveform.clamp(-1, 1).numpy().astype(np.float32), sample_rate, "PCM_16", format="FLAC")
    return file.getvalue()


def pick_examples(ranked: Mapping[str, Sequence[tuple[Clip, float]]], count: int) -> list[tuple[Clip, str]]:
    """Return clips and why they were taken: of each domain `count` about the middle and `count` of the largest scores."""
    chosen: list[tuple[Clip, str]] = []
    for domain, scores in ranked.items():
        ordered = [clip for clip, _ in sorted(scores, key=lambda item: item[1])]
        middle = max(0, (len(ordered) - count) // 2)
        typical = ordered[middle : middle + count]
        worst = [clip for clip in ordered[::-1] if clip not in typical][:count]
        chosen += [(clip, f"{domain}, in the middle") for clip in typical] + [(clip, f"{domain}, worst") for clip in worst]
    return chosen


def example_html(chosen: Sequence[tuple[Clip, str]], systems: Sequence[System], sample_rate: int, results: Results) -> str:
    """Return the players and spectrograms of all examples, the original first."""
    parts = []
    for clip, why in chosen:
        cards = [_card("original", results.get(example_key(None, clip, sample_rate), {}))]
        cards += [_card(system.label, results.get(example_key(system, clip, sample_rate), {})) for system in systems]
        parts.append(
            f"<h3>{html.escape(clip.name)} <small>({html.escape(why)})</small></h3><div class=cards>{''.join(cards)}</div>"
        )
    return "".join(parts)


def _card(label: str, example: Mapping[str, str]) -> str:
    name = html.escape(label)
    if "flac" not in example:
        return f"<figure><figcaption>{name}</figcaption><p>{html.escape(example.get('error', 'not made'))}</p></figure>"
    return (
        f"<figure><figcaption>{name}</figcaption><img alt='spectrogram of {name}' src='data:image/png;base64,{example['png']}'>"
        f"<audio controls preload=none src='data:audio/flac;base64,{example['flac']}'></audio></figure>"
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
