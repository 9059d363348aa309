"""`Tokens`: the codes of a batch of audio, with all that is needed to turn them back into audio."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .counts import whole
from .errors import ShapeError

if TYPE_CHECKING:
    import numpy as np

    from .pieces import Piece


@dataclass(frozen=True, eq=False)
class Tokens:
    """Codes of a batch, [batch, codebooks, frames] per stream, and what they mean.

    Attributes:
        streams: int64 [batch, codebooks, frames], one tensor per frame rate, coarse first.
        lengths: int64 [batch, streams], frames in use of each item; frames beyond are zero.
        n_samples: int64 [batch], samples that `decode` gives back.
        codec: name of the codec that made them.
        weights_hash: hash of its weights, or "" where unknown.
        sample_rate: Hz.
        channels: audio channels.
        frame_rates: Hz, one per stream.
        codebook_sizes: one tuple per stream, for the codebooks present.
        side: float32 [batch, segments] numbers that travel with the codes (EnCodec 48 kHz: "scale").
        side_period: frames per side number, 0 where there are none.
        metadata: the user's own strings, kept in files; under "window", how much audio the frames heard of a codec that sees
            everything: "whole", or "chunk=N context=M", pieces of N samples with at least M more on either side.
    """

    streams: tuple[Tensor, ...]
    lengths: Tensor
    n_samples: Tensor
    codec: str
    weights_hash: str
    sample_rate: int
    channels: int
    frame_rates: tuple[float, ...]
    codebook_sizes: tuple[tuple[int, ...], ...]
    side: Mapping[str, Tensor] = field(default_factory=dict)
    side_period: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, piece: "Piece") -> "Tokens":
        """Return the frames of one item as tokens; the tensors share the arrays' memory."""
        made = piece.header
        return cls(
            tuple(torch.from_numpy(codes)[None] for codes in piece.streams),
            torch.tensor([[codes.shape[1] for codes in piece.streams]], dtype=torch.int64),
            torch.tensor([piece.n_samples], dtype=torch.int64),
            made.codec, made.weights_hash, made.sample_rate, made.channels, made.frame_rates, made.codebook_sizes,
            {name: torch.from_numpy(values)[None] for name, values in piece.side.items()}, made.side_period,
            dict(made.metadata),
        )  # fmt: skip

    @property
    def codes(self) -> Tensor:
        """The codes [batch, codebooks, frames] of the only stream.

        Raises:
            ShapeError: if there are several streams; use `streams` then.
        """
        if len(self.streams) != 1:
            raise ShapeError(f"these tokens have {len(self.streams)} streams of different rates: read .streams, not .codes")
        return self.streams[0]

    @property
    def depth(self) -> int:
        """Codebooks in use, streams joined."""
        return sum(codes.shape[1] for codes in self.streams)

    @property
    def batch(self) -> int:
        """Items in the batch."""
        return self.n_samples.shape[0]

    @property
    def frame_rate(self) -> float:
        """Frames per second of the fastest stream, Hz."""
        return max(self.frame_rates)

    @property
    def seconds(self) -> Tensor:
        """Duration of each item in seconds, float64 [batch]."""
        return self.n_samples.double() / self.sample_rate

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what other processes make the same tokens of, numbers as arrays.

        Each tensor that a worker of a `DataLoader` sends is a file of shared memory of its own, which takes milliseconds.
        """
        state = {part.name: getattr(self, part.name) for part in fields(self)}
        state["streams"] = tuple(map(_plain, self.streams))
        state["lengths"], state["n_samples"] = _plain(self.lengths), _plain(self.n_samples)
        state["side"] = {name: _plain(value) for name, value in self.side.items()}
        return _again, (type(self), state)

    def __len__(self) -> int:
        return self.batch

    def __getitem__(self, index: int | slice) -> "Tokens":
        """Return items of the batch, cut to the frames that they use."""
        if isinstance(index, Integral) or getattr(index, "ndim", 1) == 0:
            number = whole(index, "an item")
            if not -self.batch <= number < self.batch:
                raise IndexError(f"item {number} of a batch of {self.batch}")
            index = slice(number, number + 1 or None)
        chosen = index
        lengths = self.lengths[chosen]
        longest = lengths.amax(0).tolist() if len(lengths) else [0] * len(self.streams)
        streams = tuple(codes[chosen, :, :n] for codes, n in zip(self.streams, longest, strict=True))
        side = {name: used_side(value[chosen], longest[0], self.side_period) for name, value in self.side.items()}
        return replace(self, streams=streams, lengths=lengths, n_samples=self.n_samples[chosen], side=side)

    def __repr__(self) -> str:
        shapes = ", ".join(str(list(codes.shape)) for codes in self.streams)
        seconds = ", ".join(f"{s:.2f}" for s in self.seconds[:4].tolist()) + (", ..." if self.batch > 4 else "")
        return f"Tokens({self.codec}, codes {shapes}, {self.frame_rate:g} Hz, [{seconds}] s)"

    def to(self, device: torch.device | str) -> "Tokens":
        """Return the same tokens on another device."""
        return self._each(lambda values: values.to(device))

    def clone(self) -> "Tokens":
        """Return the same tokens in memory of their own, which may be written to."""
        return self._each(torch.clone)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Tokens":
        return replace(
            self,
            streams=tuple(change(codes) for codes in self.streams),
            lengths=change(self.lengths),
            n_samples=change(self.n_samples),
            side={name: change(value) for name, value in self.side.items()},
        )

    def numpy(self) -> "np.ndarray | tuple[np.ndarray, ...]":
        """Return the codes as an int64 array, or a tuple of them where there are several streams."""
        arrays = tuple(codes.cpu().numpy() for codes in self.streams)
        return arrays[0] if len(arrays) == 1 else arrays

    def with_depth(self, codebooks: int) -> "Tokens":
        """Return the first `codebooks` codebooks, streams joined: a coarser rendering.

        Raises:
            ShapeError: if there are fewer.
        """
        codebooks = whole(codebooks, "codebooks")
        if not 1 <= codebooks <= self.depth:
            raise ShapeError(f"these tokens hold {self.depth} codebooks; got {codebooks}")
        keep, streams, sizes = codebooks, [], []
        for codes, size in zip(self.streams, self.codebook_sizes, strict=True):
            streams.append(codes[:, :keep])
            sizes.append(size[:keep])
            keep = max(0, keep - codes.shape[1])
        return replace(self, streams=tuple(streams), codebook_sizes=tuple(sizes))

    def frames(self, start: int, stop: int) -> "Tokens":
        """Return frames [start, stop) of the slowest stream, and the audio that they alone stand for.

        The numbers count frames of the slowest stream, so that every stream is cut at the same instant. Where side
        numbers travel with the codes, `start` must stand at the start of a segment.

        Raises:
            ShapeError: if the range is not within the tokens.
        """
        start, stop = whole(start, "a frame"), whole(stop, "a frame")
        slowest = min(codes.shape[-1] for codes in self.streams)
        if not 0 <= start <= stop <= slowest:
            raise ShapeError(f"frames must be a range within 0 to {slowest}; got {start} to {stop}")
        if self.side_period and start % self.side_period:
            raise ShapeError(f"these tokens can be cut at multiples of {self.side_period} frames only; got {start}")
        ratios = [round(rate / min(self.frame_rates)) for rate in self.frame_rates]
        streams = tuple(codes[..., start * r : stop * r] for codes, r in zip(self.streams, ratios, strict=True))
        scale = torch.tensor(ratios, device=self.lengths.device)
        lengths = (self.lengths - start * scale).clamp(min=0).minimum((stop - start) * scale)
        per_frame = self.sample_rate / min(self.frame_rates)
        end = self.n_samples.clamp(max=round(stop * per_frame))
        n_samples = (end - round(start * per_frame)).clamp(min=0)
        side = {name: self._cut_side(value, start, stop) for name, value in self.side.items()}
        return replace(self, streams=streams, lengths=lengths, n_samples=n_samples, side=side)

    def _cut_side(self, value: Tensor, start: int, stop: int) -> Tensor:
        """Cut side numbers; the last frames keep all that are left, since the last segments may be short."""
        end = None if stop >= self.streams[0].shape[-1] else -(-stop // self.side_period)
        return value[:, start // self.side_period : end]

    def with_metadata(self, **metadata: str) -> "Tokens":
        """Return the tokens with the user's own strings added.

        Raises:
            ShapeError: if one is no string.
        """
        for name, value in metadata.items():
            if not isinstance(value, str):
                raise ShapeError(f"metadata are strings; got {value!r} for {name}: pass str({value!r})")
        return replace(self, metadata={**self.metadata, **metadata})

    def save(self, path: str | Path, **options: Any) -> None:
        """Write one item as `.tok`, `.npz`, `.npy` or `.safetensors`, by the file's suffix.

        Args:
            path: where to write; an interrupted write leaves no file behind.
            options: for `.tok`, those of `toneme.codecs.tokenfile.write_tokens`.

        Raises:
            ShapeError: if the batch has more than one item and the format holds one.
            TokenFileError: if the file cannot be written.
        """
        from .formats import save_tokens

        save_tokens(self, path, **options)


def used_side(values: Tensor, frames: int, period: int) -> Tensor:
    """Cut side numbers [items, segments] behind those that the frames take and the last that is not zero."""
    nonzero = values.ne(0).any(0).nonzero()
    segments = max(-(-frames // period) if period else 0, int(nonzero[-1]) + 1 if len(nonzero) else 0)
    return values[:, :segments]


def _plain(value: Tensor) -> "Tensor | np.ndarray":
    """Return an array that shares a tensor's memory, or the tensor where NumPy has nothing like it."""
    plain = value.device.type == "cpu" and not value.requires_grad and value.dtype in (torch.int64, torch.float32)
    return value.numpy() if plain else value


def _again(kind: type[Tokens], state: dict[str, Any]) -> Tokens:
    """Return the tokens that were taken apart by `__reduce__`."""
    state["streams"] = tuple(map(torch.as_tensor, state["streams"]))
    state["lengths"], state["n_samples"] = torch.as_tensor(state["lengths"]), torch.as_tensor(state["n_samples"])
    state["side"] = {name: torch.as_tensor(value) for name, value in state["side"].items()}
    return kind(**state)
