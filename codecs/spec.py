"""What a codec is, in numbers: rates, codebooks, roles, causality, latency and bitrate."""

import math
from dataclasses import asdict, dataclass

from .counts import whole
from .errors import ShapeError


@dataclass(frozen=True)
class StreamSpec:
    """One stream of codes: `len(codebook_sizes)` codebooks at one frame rate."""

    hop: int  # samples from one frame to the next
    codebook_sizes: tuple[int, ...]
    roles: tuple[str, ...] = ()  # "semantic" or "acoustic", one per codebook

    @property
    def bits(self) -> tuple[int, ...]:
        """Bits that a code of each codebook takes when packed: ceil(log2(size))."""
        return tuple(max(1, math.ceil(math.log2(size))) for size in self.codebook_sizes)


@dataclass(frozen=True)
class CodecSpec:
    """What a codec is: everything that a reader of its tokens must know.

    Attributes:
        sample_rate: Hz.
        channels: audio channels that go in and come out.
        streams: one for most codecs; several where rates differ (SNAC's levels).
        causal: a frame never depends on audio later than its own end plus `lookahead`.
        lookahead: samples of future, beyond the frame's own hop, that encode plus decode need; where one of them sees
            everything, in the chunks of its streams.
        receptive_field: samples on either side that can change a frame; None where it sees everything.
        nominal_frame_rate: Hz, where it differs from sample_rate / hop (EnCodec 48 kHz overlaps segments).
        side: names of per-segment numbers that travel beside the codes (EnCodec 48 kHz: ("scale",)).
        side_period: frames per side number.
        licence: SPDX name of the weights' licence, or "" where it is unknown.
    """

    sample_rate: int
    channels: int
    streams: tuple[StreamSpec, ...]
    causal: bool
    lookahead: int = 0
    receptive_field: int | None = None
    nominal_frame_rate: float | None = None
    side: tuple[str, ...] = ()
    side_period: int = 0
    licence: str = ""

    @property
    def hop(self) -> int:
        """Samples per frame of the fastest stream."""
        return min(stream.hop for stream in self.streams)

    @property
    def frame_rate(self) -> float:
        """Frames per second of the fastest stream, Hz."""
        return self.nominal_frame_rate or self.sample_rate / self.hop

    @property
    def frame_rates(self) -> tuple[float, ...]:
        """Frames per second of each stream, Hz."""
        return tuple(self.frame_rate * self.hop / stream.hop for stream in self.streams)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Sizes of all codebooks, coarse first, streams joined."""
        return tuple(size for stream in self.streams for size in stream.codebook_sizes)

    @property
    def roles(self) -> tuple[str, ...]:
        """Role of each codebook, streams joined."""
        return tuple(role for stream in self.streams for role in (stream.roles or ("acoustic",) * len(stream.codebook_sizes)))

    @property
    def codebooks(self) -> int:
        """How many codebooks there are, streams joined."""
        return len(self.codebook_sizes)

    @property
    def latency(self) -> int:
        """Algorithmic latency in samples: one frame of the slowest stream plus the lookahead."""
        return max(stream.hop for stream in self.streams) + self.lookahead

    def bitrate(self, codebooks: int | None = None) -> float:
        """Return the nominal rate in kbps with the first `codebooks` codebooks (all by default)."""
        pairs = [
            (rate, size) for rate, stream in zip(self.frame_rates, self.streams, strict=True) for size in stream.codebook_sizes
        ]
        return sum(rate * math.log2(size) for rate, size in pairs[:codebooks]) / 1000

    def codebooks_for(self, kbps: float) -> int:
        """Return the most codebooks whose nominal rate is at most `kbps`.

        Raises:
            ShapeError: if even one codebook takes more.
        """
        fitting = [n for n in range(1, self.codebooks + 1) if self.bitrate(n) <= kbps + 1e-9]
        if not fitting:
            raise ShapeError(
                f"no depth fits in {kbps:g} kbps: this codec's lowest rate is {self.bitrate(1):.3g} kbps; ask for at least that"
            )
        return fitting[-1]

    def check_codebooks(self, codebooks: int | None) -> int:
        """Return `codebooks`, or all of them for None.

        Raises:
            ShapeError: if it is not a whole number between 1 and the number that there are.
        """
        if codebooks is None:
            return self.codebooks
        codebooks = whole(codebooks, "codebooks")
        if not 1 <= codebooks <= self.codebooks:
            raise ShapeError(f"codebooks must be from 1 to {self.codebooks}; got {codebooks}")
        return codebooks

    def max_samples(self, n_frames: tuple[int, ...]) -> int:
        """Return the most samples that so many frames of each stream can stand for, where all frames are of one length."""
        return max(n * stream.hop for n, stream in zip(n_frames, self.streams, strict=True))

    def check_length(self, n_samples: int, most: int) -> None:
        """Raise ShapeError where codes claim over a second more than the samples that their frames stand for at `most`."""
        if n_samples > most + self.sample_rate:
            raise ShapeError(
                f"these tokens claim {n_samples} samples and their frames stand for {most} at most: the file is damaged"
            )

    def to_dict(self) -> dict:
        """Return the specification as plain JSON types, derived figures included."""
        derived = {"hop": self.hop, "frame_rate": self.frame_rate, "codebooks": self.codebooks, "latency": self.latency}
        return {**asdict(self), **derived, "kbps": [self.bitrate(n + 1) for n in range(self.codebooks)]}
