"""`codec.json`: what an exported codec is and how its two graphs are fed. Needs neither torch nor numpy.

A graph of mode "steps" takes whole units and its states, and gives one frame per unit; a graph of mode "chunks" has no state,
and is run on stretches of audio that overlap by `context`. A unit is the least stretch of samples that is whole frames of every
stream. States begin as zeros.

A state may be a ring: `next.NAME` then holds the rows of the call alone, and whoever runs the graph writes row n of a stream
over slot (`state.position` + n) modulo the ring's size, `state.position` being what the call was given. Format 1 had no
rings, and is read as well.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..codecs.chunk_seconds import checked_seconds, chunk_units
from ..codecs.spec import CodecSpec, StreamSpec
from ..kernels.errors import CheckpointError

FORMAT = 2
LABEL = "toneme.weights_hash"  # of a graph: what it was made of
FILE = "codec.json"
DIRECTIONS = ("encoder", "decoder")
MODES = ("steps", "chunks")


@dataclass(frozen=True)
class State:
    """One state: the graph's `state.NAME` in, `next.NAME` out.

    Attributes:
        shape: with one axis that is called "batch", the first of a ring.
        ring: axis of the slots where it is a ring.
    """

    name: str
    shape: tuple[int | str, ...]
    type: str = "float32"
    ring: int | None = None

    def sized(self, batch: int) -> tuple[int, ...]:
        """Return the shape for so many streams."""
        return tuple(batch if axis == "batch" else int(axis) for axis in self.shape)


@dataclass(frozen=True)
class Side:
    """One direction.

    Attributes:
        file: of the graph, beside `codec.json`.
        mode: "steps" or "chunks".
        unit: samples per unit.
        skip: what comes out first and is dropped: frames of the encoder, samples of the decoder.
        tail: what is fed after the end to get the rest out: zero samples to the encoder, frames of silent codes to the decoder.
        start: units that the first call must hold, unless the end comes before.
        most: units of one call at most, so that memory does not grow with what is pushed at once.
        length: the graph also takes `length` int64 [1]: how many samples of the padded units are audio.
        chunk: units that a chunk of a stream gives out, unless another length is asked for: graphs take any.
        bulk: units that a chunk gives out where the whole audio is there at once, 0 for as many as in a stream.
        context: units that a chunk sees on either side of those.
        delay: samples by which the output lags the input, beyond the unit itself.
        least: samples of the last unit that must be there for it to count: fewer give no frame.
        filled: audio that is worked on all at once is filled up to whole units, as everything else is.
        states: of mode "steps".
    """

    file: str
    mode: str
    unit: int
    skip: int = 0
    tail: int = 0
    start: int = 1
    most: int = 64
    length: bool = False
    chunk: int = 0
    bulk: int = 0
    context: int = 0
    delay: int = 0
    least: int = 1
    filled: bool = True
    states: tuple[State, ...] = ()

    def units(self, samples: int) -> int:
        """Return how many units so many samples are, the last one filled up."""
        return (samples + self.unit - self.least) // self.unit

    def chunk_of(self, chunk_seconds: float | None, sample_rate: int) -> int:
        """Return the units that a chunk of a stream gives out where so many seconds are asked for, 0 of mode "steps".

        Raises:
            ShapeError: if that is no number above 0.
        """
        if chunk_seconds is None:
            return self.chunk
        units = chunk_units(checked_seconds(chunk_seconds), sample_rate, self.unit)
        return units if self.mode == "chunks" else 0

    def latency(self, chunk_seconds: float | None, sample_rate: int) -> int:
        """Return the samples that there must be before all of the first frame comes out, by what a chunk is asked to have."""
        chunk = self.chunk_of(chunk_seconds, sample_rate)
        return (chunk + self.context) * self.unit if self.mode == "chunks" else self.unit + self.delay


@dataclass(frozen=True)
class Stream:
    """Codes at one rate: `codebook_sizes` of those in the graph, every frame standing for `hop` samples."""

    hop: int
    codebook_sizes: tuple[int, ...]
    roles: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """The content of `codec.json`.

    Attributes:
        encoder: None where the codec only decodes without torch.
        window: what tokens of the encoder record of the audio that a frame hears, "" where it is all that it can.
        options: what else was asked for, and what was measured.
    """

    codec: str
    family: str
    weights_hash: str
    licence: str
    sample_rate: int
    channels: int
    streams: tuple[Stream, ...]
    encoder: Side | None
    decoder: Side
    window: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def codebooks(self) -> int:
        """How many codebooks there are, streams joined."""
        return sum(len(stream.codebook_sizes) for stream in self.streams)

    @property
    def spec(self) -> CodecSpec:
        """What the codec is, in numbers."""
        streams = tuple(StreamSpec(s.hop, s.codebook_sizes, s.roles) for s in self.streams)
        lookahead = sum(side.delay for side in (self.encoder, self.decoder) if side)
        return CodecSpec(self.sample_rate, self.channels, streams, self.in_steps, lookahead, licence=self.licence)

    def n_frames(self, n_samples: int) -> tuple[int, ...]:
        """Return the frames of each stream for audio of `n_samples`, whole units of them."""
        side = self.encoder or self.decoder
        return tuple(side.units(n_samples) * (side.unit // stream.hop) for stream in self.streams)

    def latencies(self, chunk_seconds: float | None = None) -> tuple[int | None, int | None]:
        """Return the samples that an encoder, where there is one, and a decoder wait for, as `Codec.latencies`."""
        encoder = self.encoder.latency(chunk_seconds, self.sample_rate) if self.encoder else None
        return encoder, self.decoder.latency(chunk_seconds, self.sample_rate)

    @property
    def in_steps(self) -> bool:
        """Whether what there is of its sides goes frame by frame."""
        return all(side.mode == "steps" for side in (self.encoder, self.decoder) if side)

    def to_dict(self) -> dict[str, Any]:
        """Return the content as plain JSON types, rates that follow from it included."""
        content = {"format": FORMAT, **asdict(self), "codebooks": self.codebooks}
        for stream in content["streams"]:
            stream["frame_rate"] = self.sample_rate / stream["hop"]
        return content

    def write(self, folder: Path) -> None:
        """Write `codec.json` into a folder."""
        (folder / FILE).write_text(json.dumps(self.to_dict(), indent=2) + "\n")


def is_exported(name: str | Path) -> bool:
    """Return whether a name is the folder of an exported codec."""
    return (Path(name) / FILE).is_file()


def read_manifest(folder: str | Path) -> Manifest:
    """Read a folder's `codec.json`.

    Raises:
        CheckpointError: if it is missing, of a newer format, or not an exported codec's.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        raise CheckpointError(f"{folder} holds no {FILE}: make it with `codec export CODEC -o {folder}`")
    try:
        content = json.loads(path.read_bytes())
        if content["format"] > FORMAT:
            raise CheckpointError(
                f"{path} has format {content['format']}, and this version reads {FORMAT}: install a newer toneme"
            )
        streams = tuple(Stream(s["hop"], tuple(s["codebook_sizes"]), tuple(s["roles"])) for s in content["streams"])
        encoder = None if content["encoder"] is None else _side(content["encoder"])
        plain = {name: content[name] for name in PLAIN}
        rest = {name: content[name] for name in ("window", "options") if name in content}
        return Manifest(**plain, **rest, streams=streams, encoder=encoder, decoder=_side(content["decoder"]))
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is not an exported codec's ({error!r}): export it again") from None


PLAIN = ("codec", "family", "weights_hash", "licence", "sample_rate", "channels")


def _side(content: dict[str, Any]) -> Side:
    states = tuple(State(s["name"], tuple(s["shape"]), s["type"], s.get("ring")) for s in content["states"])
    side = Side(**{**content, "states": states})
    if side.mode not in MODES:
        raise ValueError(f"mode {side.mode!r}")
    return side
