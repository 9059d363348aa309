"""Streams of a codec that works on windows: codes of windows side by side, audio of windows that fade into each other.

The codec has `config.window` and `config.frames` (samples and frames of a window), `overhang` (samples after a window that its
codes see), `code_window(waveform, last, codebooks)` and `sound_window(codes, number)`.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import pad

from .streaming import StreamDecoder, StreamEncoder

if TYPE_CHECKING:
    from .base import Encoded
    from .semanticodec import SemantiCodec

FADED = 16  # a decoded window shares one sixteenth of its length with the next


class WindowStreamEncoder(StreamEncoder):
    """Codes a window as soon as it and its overhang are there."""

    codec: "SemantiCodec"

    @property
    def latency(self) -> int:
        return self.codec.config.window + self.codec.overhang

    def _reset(self) -> None:
        self.held = torch.zeros(self.batch, 0, device=self.codec.device, dtype=self.codec.dtype)
        self.taken = self.given = 0  # samples in, frames out

    def _push(self, waveform: Tensor) -> "Encoded":
        self.taken += waveform.shape[-1]
        self.held = torch.cat([self.held, waveform[:, 0]], dim=1)
        pieces = [self.codec._empty(self.batch, self.codebooks)[0][0]]
        while self.held.shape[1] >= self.codec.config.window + self.codec.overhang:
            pieces.append(self._code(last=False))
        return (torch.cat(pieces, dim=-1),), {}

    def _flush(self) -> "Encoded":
        wanted = self.codec.n_frames(self.taken)[0] - self.given
        pieces = [self.codec._empty(self.batch, self.codebooks)[0][0]]
        if self.held.shape[1] >= self.codec.config.window:  # by the length, since the window after it may have no frame
            pieces.append(self._code(last=False))
        if wanted > sum(piece.shape[-1] for piece in pieces):
            pieces.append(self._code(last=True))
        return (torch.cat(pieces, dim=-1)[..., :wanted],), {}

    def _code(self, last: bool) -> Tensor:
        config = self.codec.config
        codes = self.codec.code_window(
            self.held[:, : config.window + (0 if last else self.codec.overhang)], last, self.codebooks
        )
        self.held, self.given = self.held[:, config.window :].clone(), self.given + config.frames
        return codes


class WindowStreamDecoder(StreamDecoder):
    """Sounds a window as soon as frames after it are there, since only then it is known to fade into another.

    The published vocoder gives 32 samples more than a window has, and the published code lets each window begin that much later
    than its codes do; here every window begins where it belongs.
    """

    codec: "SemantiCodec"

    @property
    def latency(self) -> int:
        return self.codec.config.window + self.codec.spec.hop

    def _reset(self) -> None:
        self.held: Tensor | None = None
        self.number = 0  # of the next window
        self.fading = torch.zeros(self.batch, 1, 0, device=self.codec.device, dtype=self.codec.dtype)

    def _push(self, streams: tuple[Tensor, ...], side: dict[str, Tensor]) -> Tensor:
        frames, window = self.codec.config.frames, self.codec.config.window
        self.held = streams[0] if self.held is None else torch.cat([self.held, streams[0]], dim=-1)
        pieces = [self.fading[..., :0]]
        while self.held.shape[-1] > frames:
            audio = self._sound(self.held[..., :frames])
            self.held = self.held[..., frames - frames // FADED :].clone()
            shared = window // FADED
            pieces.append(audio[..., :-shared])
            self.fading = audio[..., -shared:] * torch.linspace(1, 0, shared, device=audio.device, dtype=audio.dtype)
        return torch.cat(pieces, dim=-1)

    def _flush(self) -> Tensor:
        if self.held is None or not self.held.shape[-1]:
            return self.fading[..., :0]
        return self._sound(self.held)

    def _sound(self, codes: Tensor) -> Tensor:
        audio = self.codec.sound_window(codes, self.number)
        self.number += 1
        if not (shared := self.fading.shape[-1]):
            return audio
        rising = torch.linspace(0, 1, shared, device=audio.device, dtype=audio.dtype)
        return audio * pad(rising, (0, audio.shape[-1] - shared), value=1) + pad(self.fading, (0, audio.shape[-1] - shared))
