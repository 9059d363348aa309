"""A cache of teachers' features: computed once per ten seconds of a recording, kept in half precision, cut where a crop is."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...codecs.files import atomic_path
from .items import Items
from .recording import Recording
from .stamp import changed_since, renewed, stamp

WINDOW = 10.0  # seconds of a recording whose features are computed and kept together


class FeatureCache:
    """Features of recordings as they are on disk, before levels and augmentation.

    Args:
        folder: where they are kept.
        key: what sets the teacher apart from others: its name, layer and weights.
        items: whose recordings they are of.
        compute: audio [1, samples] at the items' rate to features [1, frames, dim].
        frame_rate: features per second.
        say: gets a line about each recording that changed since its features were computed.
    """

    def __init__(
        self,
        folder: Path,
        key: str,
        items: Items,
        compute: Callable[[Tensor], Tensor],
        frame_rate: float,
        say: Callable[[str], None] = print,
    ) -> None:
        self.folder, self.items, self.compute, self.frame_rate, self.say = folder, items, compute, frame_rate, say
        self.key = f"{key}|{items.sample_rate}"
        self.computed = 0
        self.other: set[int] = set()  # recordings that changed

    def crop(self, recording: int, start: float, seconds: float) -> Tensor:
        """Return the features [frames, dim] of a stretch; fewer where the recording ends before it does.

        Where it begins before the recording, at less than 0, its first features are zeros.
        """
        if start < 0:
            ahead, found = round(-start * self.frame_rate), self.crop(recording, 0.0, max(1 / self.frame_rate, seconds + start))
            return torch.cat([found.new_zeros(ahead, found.shape[1]), found])[: round(seconds * self.frame_rate)]
        first, last = int(start // WINDOW), int((start + seconds - 1e-6) // WINDOW)
        windows = [self._window(recording, number) for number in range(first, last + 1)]
        begin = round((start - first * WINDOW) * self.frame_rate)
        return torch.cat(windows)[begin : begin + round(seconds * self.frame_rate)]

    def _window(self, recording: int, number: int) -> Tensor:
        about = self.items.recordings[recording]
        digest = hashlib.sha256(f"{self.key}|{about.name}|{number}".encode("utf-8", "surrogateescape")).hexdigest()
        path = self.folder / digest[:2] / f"{digest[2:32]}.npz"
        kept, there = _read(path, about)
        if kept is not None:
            return kept.float()
        if there and recording not in self.other:
            self.other.add(recording)
            self.say(f"features are computed anew, of {len(self.other)} recordings so far: {about.name} changed")
        known = stamp(about)
        features = self._compute(recording, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as partial:
            np.savez(partial, features=features.numpy(), stamp=np.array(known))
        self.computed += 1
        return features.float()

    def _compute(self, recording: int, number: int) -> Tensor:
        waveform = torch.from_numpy(self.items.read(recording, number * WINDOW, WINDOW)).mean(0, keepdim=True)
        least = round(self.items.sample_rate / self.frame_rate)
        if waveform.shape[1] < least:  # the recording ends here
            waveform = torch.nn.functional.pad(waveform, (0, least - waveform.shape[1]))
        return self.compute(waveform)[0].half().cpu()


def _read(path: Path, recording: Recording) -> tuple[Tensor | None, bool]:
    """Features of a recording as it is now, None where there are none, and whether there are such of it as it was or is."""
    if path.is_file():
        with np.load(path) as kept:
            same = renewed(recording, kept["stamp"].tolist()) is not None
            return torch.from_numpy(kept["features"]) if same else None, True
    old = path.with_suffix(".npy")  # of an earlier form, without a stamp
    if not old.is_file():
        return None, False
    same = not changed_since(recording, old.stat().st_mtime_ns)
    return torch.from_numpy(np.load(old)) if same else None, True
