"""Features that probes learn from: tokens of a codec, log-mel spectra, a speech model's hidden states."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...codecs.audio_resampling import resample
from ...codecs.errors import TonemeError
from ...codecs.teachers import Teacher, load_teacher
from ..clips import Clip
from ..jobs import Job, Results
from ..reconstruction import pack, package_version, unpack
from ..spectra import mel_magnitudes
from ..systems import CodecSystem
from ..token_statistics import codes_of
from ..weights import find_weights

VERSION = "1"
MEL_RATE, MEL_WINDOW, MELS = 24000, 960, 80  # 40 ms every 10 ms
TEACHER, TEACHER_FOLDER = "microsoft/wavlm-base-plus", "wavlm-base-plus"


class Features(ABC):
    """What a probe hears of a clip.

    Attributes:
        label: as tables name it.
        identity: whatever has an influence on it, for the cache.
        frame_rate: Hz.
        sizes: of its codebooks; empty where features are continuous.
    """

    label: str
    identity: str
    frame_rate: float
    sizes: tuple[int, ...] = ()

    @abstractmethod
    def read(self, clip: Clip, device: str) -> Tensor:
        """Return codes int64 [frames, codebooks] or features float [frames, dimension] of a clip.

        Raises:
            TonemeError: if they cannot be had.
        """


@dataclass(frozen=True)
class CodesJob(Job):
    """The codes of one clip."""

    system: CodecSystem
    clip: Clip

    @property
    def keys(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The one key."""
        return (f"codes|{package_version()}|{VERSION}|{self.system.identity}|{self.clip.digest} {self.clip.seconds}",)

    def run(self, wanted: frozenset[str], device: str) -> Results:
        """Return codes of every codebook, their sizes, roles and rates."""
        return {self.keys[0]: self._encode(device)}

    def _encode(self, device: str) -> dict[str, Any]:
        codec, depth = self.system.codec(device), self.system.codebooks
        tokens = codec.encode(*self.clip.read(), codebooks=depth)
        pairs = list(zip(tokens.frame_rates, tokens.codebook_sizes, strict=True))
        return {
            "codes": [pack(codes) for codes in codes_of(tokens)], "roles": list(codec.spec.roles[:depth]),
            "sizes": [size for _, sizes in pairs for size in sizes], "rates": [rate for rate, sizes in pairs for _ in sizes],
        }  # fmt: skip


class TokenFeatures(Features):
    """Some codebooks of a codec.

    Args:
        label: see `Features`.
        system: the codec, at the depth at which clips were encoded.
        books: which codebooks, from 0.
        found: results of `CodesJob` by the clip's digest; those of clips that failed are missing.
    """

    def __init__(self, label: str, system: CodecSystem, books: tuple[int, ...], found: Mapping[str, Mapping[str, Any]]) -> None:
        self.label, self.system, self.books = label, system, books
        first = next(iter(found.values()))
        self.sizes = tuple(first["sizes"][k] for k in books)
        self.rates = tuple(first["rates"][k] for k in books)
        self.roles = tuple(first["roles"][k] for k in books)
        self.frame_rate = max(self.rates)
        self.identity = f"{system.identity} {books}"
        self.codes = {digest: self._aligned(item) for digest, item in found.items()}

    @property
    def kbps(self) -> float:
        """Nominal rate of these codebooks."""
        return sum(rate * math.log2(size) for rate, size in zip(self.rates, self.sizes, strict=True)) / 1000

    def of_role(self, role: str) -> tuple[int, ...]:
        """Return which of its codebooks are semantic, or acoustic."""
        return tuple(k for k, its in zip(self.books, self.roles, strict=True) if its == role)

    def read(self, clip: Clip, device: str) -> Tensor:
        """Return the codes, those of slower streams repeated."""
        if clip.digest not in self.codes:
            raise TonemeError(f"{clip.name} could not be encoded: see the failures of {self.system.label}")
        return torch.from_numpy(self.codes[clip.digest].astype(np.int64))

    def _aligned(self, item: Mapping[str, Any]) -> np.ndarray:
        """Return int32 [frames, codebooks] at the fastest rate, cut to what all codebooks have."""
        ratios = [round(self.frame_rate / rate) for rate in self.rates]
        codes = [unpack(item["codes"][k]).repeat(ratio) for k, ratio in zip(self.books, ratios, strict=True)]
        return np.stack([stream[: min(map(len, codes))] for stream in codes], axis=1).astype(np.int32)


class LogMel(Features):
    """Logarithms of 80 mel magnitudes at 24 kHz, two frames of 10 ms side by side: [frames, 160] at 50 Hz."""

    label = "log-mel"
    identity = f"log-mel {VERSION}"
    frame_rate = 50.0

    def read(self, clip: Clip, device: str) -> Tensor:
        """Return the features."""
        audio = resample(*clip.read(), MEL_RATE)
        audio = torch.nn.functional.pad(audio, (0, max(0, MEL_WINDOW - len(audio))))
        mels = mel_magnitudes(audio[None], MEL_WINDOW, MELS, MEL_RATE)[0].clamp(min=1e-5).log()
        return mels[: len(mels) // 2 * 2].reshape(-1, 2 * MELS)


class TeacherFeatures(Features):
    """Mean of all hidden states of WavLM Base+ (Chen et al., 2022): [frames, 768] at 50 Hz."""

    label = "WavLM Base+"
    identity = f"{TEACHER} mean {VERSION}"
    frame_rate = 50.0

    @staticmethod
    def obstacle() -> str:
        """Return why they cannot be had here, "" where they can."""
        try:
            find_weights(TEACHER_FOLDER, ("config.json", "*model*"), TEACHER)
        except TonemeError as error:
            return str(error)
        return ""

    def read(self, clip: Clip, device: str) -> Tensor:
        """Return the features, in half precision since many clips are held at once."""
        audio = resample(*clip.read(), 16000)
        audio = torch.nn.functional.pad(audio, (0, max(0, 400 - len(audio))))
        return _teacher(device)(audio[None].to(device))[0].half().cpu()


@lru_cache(maxsize=1)
def _teacher(device: str) -> Teacher:
    return load_teacher(find_weights(TEACHER_FOLDER, ("config.json", "*model*"), TEACHER), device=device)
