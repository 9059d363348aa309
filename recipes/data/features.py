"""A cache of teachers' features: computed once per ten seconds of a recording, kept in half precision, cut where a crop is."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...codecs.files import atomic_path
from .items import Items

WINDOW = 10.0  # seconds of a recording whose features are computed and kept together


class FeatureCache:
    """Features of recordings as they are on disk, before levels and augmentation.

    Args:
        folder: where they are kept.
        key: what sets the teacher apart from others: its name, layer and weights.
        items: whose recordings they are of.
        compute: audio [1, samples] at the items' rate to features [1, frames, dim].
        frame_rate: features per second.
    """

    def __init__(self, folder: Path, key: str, items: Items, compute: Callable[[Tensor], Tensor], frame_rate: float) -> None:
        self.folder, self.items, self.compute, self.frame_rate = folder, items, compute, frame_rate
        self.key = f"{key}|{items.sample_rate}"
        self.computed = 0

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
        name = self.items.recordings[recording].name
        digest = hashlib.sha256(f"{self.key}|{name}|{number}".encode("utf-8", "surrogateescape")).hexdigest()
        path = self.folder / digest[:2] / f"{digest[2:32]}.npy"
        if path.is_file():
            return torch.from_numpy(np.load(path)).float()
        waveform = torch.from_numpy(self.items.read(recording, number * WINDOW, WINDOW)).mean(0, keepdim=True)
        least = round(self.items.sample_rate / self.frame_rate)
        if waveform.shape[1] < least:  # the recording ends here
            waveform = torch.nn.functional.pad(waveform, (0, least - waveform.shape[1]))
        features = self.compute(waveform)[0].half().cpu()
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as partial:
            np.save(partial, features.numpy())
        self.computed += 1
        return features.float()
