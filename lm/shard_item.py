"""What shards of tokens hold: items, and what is common to all of them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from ..codecs.errors import CheckpointError, TokenFileError
from ..codecs.tokens import Tokens, used_side

if TYPE_CHECKING:
    from ..codecs.base import Codec

VERSION = 1


@dataclass(frozen=True)
class About:
    """What made the tokens of a folder of shards, and what they are; the fields are those of `Tokens`."""

    codec: str
    weights_hash: str
    sample_rate: int
    channels: int
    frame_rates: tuple[float, ...]
    codebook_sizes: tuple[tuple[int, ...], ...]
    side: tuple[str, ...] = ()
    side_period: int = 0

    @classmethod
    def of(cls, codec: "Codec", codebooks: int) -> Self:
        """Return what shards of a codec's first `codebooks` codebooks say."""
        spec, left, sizes = codec.spec, codebooks, []
        for stream in spec.streams:
            sizes.append(stream.codebook_sizes[: max(0, left)])
            left -= len(stream.codebook_sizes)
        return cls(
            codec.name, codec.weights_hash, spec.sample_rate, spec.channels, spec.frame_rates, tuple(sizes), spec.side,
            spec.side_period,
        )  # fmt: skip

    @property
    def codebooks(self) -> int:
        """Codebooks of all streams."""
        return sum(len(sizes) for sizes in self.codebook_sizes)

    @property
    def dtype(self) -> np.dtype:
        """The type that codes are stored in."""
        return np.dtype(np.uint16 if max(size for sizes in self.codebook_sizes for size in sizes) <= 1 << 16 else np.int32)

    def to_json(self) -> str:
        """Return it as JSON; equal ones give equal text."""
        return json.dumps({"toneme_shards": VERSION, **asdict(self)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes, source: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            TokenFileError: if it is something else.
        """
        try:
            found: dict[str, Any] = json.loads(text)
            if found.pop("toneme_shards") != VERSION:
                raise TokenFileError(f"{source} is of another version of shards than {VERSION}: read it with that of toneme")
            found["codebook_sizes"] = tuple(tuple(sizes) for sizes in found["codebook_sizes"])
            plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in found.items()}
            return cls(**plain)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TokenFileError(f"{source} does not say what its tokens are ({error!r}): it is no shard, or damaged") from None

    def check(self, codec: "Codec | str", source: str) -> None:
        """Raise CheckpointError unless the codec (by name alone, or with its weights) made the tokens."""
        name, weights = (codec, "") if isinstance(codec, str) else (codec.name, codec.weights_hash)
        if name != self.codec or (weights and weights != self.weights_hash):
            raise CheckpointError(
                f"{source} holds tokens of {self.codec} with weights {self.weights_hash}; got {name}"
                f"{f' with weights {weights}' if weights else ''}: use the codec that made them"
            )


def as_text(path: str) -> str:
    """Return a path as shards have it: file names may be no text, which parquet refuses."""
    return path.encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True)
class Item:
    """The tokens of one recording.

    Attributes:
        path: of the recording, below the folder that was tokenised where there was one.
        sha256: of the recording's file.
        n_samples: at the codec's rate.
        streams: codes [codebooks, frames] of each stream.
        side: float32 numbers per segment that travel with the codes.
    """

    path: str
    sha256: str
    n_samples: int
    streams: tuple[np.ndarray, ...]
    side: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", as_text(self.path))

    @classmethod
    def of(cls, tokens: Tokens, index: int, path: str, sha256: str, dtype: np.dtype) -> Self:
        """Return item `index` of a batch of tokens."""
        frames = tokens.lengths[index].tolist()
        streams = tuple(
            codes[index, :, :n].cpu().numpy().astype(dtype) for codes, n in zip(tokens.streams, frames, strict=True)
        )
        used = {name: used_side(value[index, None], frames[0], tokens.side_period) for name, value in tokens.side.items()}
        side = {name: value[0].float().cpu().numpy() for name, value in used.items()}
        return cls(path, sha256, int(tokens.n_samples[index]), streams, side)

    def tokens(self, about: About) -> Tokens:
        """Return the item as tokens; metadata has its `path` and `sha256`."""
        streams = tuple(torch.from_numpy(codes.astype(np.int64))[None] for codes in self.streams)
        return Tokens(
            streams, torch.tensor([[codes.shape[-1] for codes in streams]]), torch.tensor([self.n_samples]), about.codec,
            about.weights_hash, about.sample_rate, about.channels, about.frame_rates, about.codebook_sizes,
            {name: torch.from_numpy(np.array(value, np.float32))[None] for name, value in self.side.items()}, about.side_period,
            {"path": self.path, "sha256": self.sha256},
        )  # fmt: skip
