"""What is evaluated: a codec at one depth, or a shell command at one rate; audio in, audio and a bit count out."""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..codecs.base import Codec
from ..codecs.errors import AudioError
from ..codecs.registry import HUB, load, official_names
from ..codecs.spec import CodecSpec

if TYPE_CHECKING:
    from .clips import Clip


@dataclass(frozen=True)
class Rebuilt:
    """What came back.

    Attributes:
        audio: float [time], mono.
        sample_rate: Hz.
        bits: of the code, None where they are not known.
        encode_seconds, decode_seconds: of processor time (wall time on a GPU); None where they were not apart.
        seconds: of both together.
    """

    audio: Tensor
    sample_rate: int
    bits: float | None
    seconds: float
    encode_seconds: float | None = None
    decode_seconds: float | None = None


@dataclass(frozen=True)
class About:
    """What tables say of a system besides its scores; None is what is not known."""

    parameters: int | None = None
    sample_rate: int | None = None
    codebooks: int | None = None
    nominal_kbps: float | None = None
    tokens_per_second: float | None = None
    frame_rate: float | None = None
    latency_ms: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain JSON types."""
        return asdict(self)


class System(ABC):
    """One line of the tables.

    Attributes:
        name: of the codec or command, without its rate.
        label: as tables name the line.
        identity: whatever has an influence on the audio, for the cache.
        about: figures that need no measurement.
        codes_anything: whether it takes any audio, so that its speed can be measured, and not some clips alone.
    """

    name: str
    label: str
    identity: str
    about: About
    codes_anything = True

    def rebuild_clip(self, clip: "Clip", waveform: Tensor, sample_rate: int, device: str) -> Rebuilt:
        """Code and decode a clip that was read already, [time].

        Raises:
            TonemeError: if that fails, or what comes back holds samples that are no numbers.
        """
        rebuilt = self.rebuild(waveform, sample_rate, device)
        if not bool(rebuilt.audio.isfinite().all()):
            raise AudioError(f"{self.label} gave back samples that are no finite numbers: listen to {clip.name} by it")
        return rebuilt

    @abstractmethod
    def rebuild(self, waveform: Tensor, sample_rate: int, device: str) -> Rebuilt:
        """Code and decode a clip [time].

        Raises:
            TonemeError: if that fails.
        """


@dataclass(frozen=True)
class CodecSystem(System):
    """A codec with its first `codebooks` codebooks; `source` is what `load` takes, `beam` what it encodes with."""

    source: str
    name: str
    label: str
    identity: str
    about: About
    codebooks: int
    beam: int = 1

    def codec(self, device: str) -> Codec:
        """Return the codec, told how to encode; the last one asked for is kept in memory."""
        codec = load_once(self.source, device)
        if codec.encode_options:
            codec.set_encode_options(beam=self.beam)
        return codec

    def rebuild(self, waveform: Tensor, sample_rate: int, device: str) -> Rebuilt:
        """Code and decode a clip [time]; several channels are mixed to one."""
        codec = self.codec(device)
        start = clock(device)
        tokens = codec.encode(waveform, sample_rate, codebooks=self.codebooks)
        between = clock(device)
        audio = codec.decode(tokens)[0].mean(0).float().cpu()
        end = clock(device)
        bits = sum(
            length * torch.tensor(sizes).double().log2().sum().item()
            for length, sizes in zip(tokens.lengths[0].tolist(), tokens.codebook_sizes, strict=True)
        )
        return Rebuilt(audio, codec.spec.sample_rate, bits, end - start, between - start, end - between)


@lru_cache(maxsize=1)
def load_once(source: str, device: str) -> Codec:
    """Return a codec; the last one asked for is kept."""
    return load(source, device)


def clock(device: str) -> float:
    """Return seconds: of this thread's processor on a CPU, of the wall once the GPU is done."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()


def codec_systems(
    source: str, depths: list[int] | None = None, kbps: list[float] | None = None, beam: int = 1
) -> list[CodecSystem]:
    """Return a codec at several depths.

    Args:
        source: a name, a folder or hf://org/name.
        depths: numbers of codebooks; those that the codec lacks are left out.
        kbps: highest nominal rates, as another way to say depths; rates below the codec's lowest are left out.
            Without either: powers of two, and all.
        beam: with more than 1, a codec that can encode so is there with and without.

    Raises:
        TonemeError: if the codec cannot be loaded.
    """
    codec = load_once(source, "cpu")
    spec = codec.spec
    parameters = sum(weight.numel() for weight in codec.parameters())
    weights = f"{codec.name} {codec.weights_hash}"
    beams = (1, beam) if beam > 1 and codec.encode_options else (1,)
    return [
        CodecSystem(
            source=source, name=_named(codec.name, width), label=f"{_named(codec.name, width)} x{depth}",
            identity=f"{_named(weights, width)} x{depth}", about=_about(spec, depth, parameters), codebooks=depth, beam=width,
        )
        for width in beams for depth in pick_depths(spec, depths, kbps)
    ]  # fmt: skip


def tell_apart(systems: Sequence[System]) -> list[System]:
    """Return the systems, codecs of one name but of several sources (two states of a training) named by their sources."""
    sources: dict[str, set[str]] = {}
    for system in systems:
        if isinstance(system, CodecSystem):
            sources.setdefault(system.name, set()).add(system.source)
    return [
        replace(system, name=(name := _named(system.source, system.beam)), label=f"{name} x{system.codebooks}")
        if isinstance(system, CodecSystem) and len(sources[system.name]) > 1
        else system
        for system in systems
    ]


def _named(name: str, beam: int) -> str:
    return f"{name} beam {beam}" if beam > 1 else name


def is_elsewhere(source: str) -> bool:
    """Return whether a codec's weights are not ours to ship: it is a published model by its official name, or on the hub."""
    return source.startswith(HUB) or source.replace("-", "_").lower() in {n.replace("-", "_").lower() for n in official_names()}


def pick_depths(spec: CodecSpec, depths: list[int] | None, kbps: list[float] | None) -> list[int]:
    """Return the depths that `codec_systems` describes, ascending."""
    if kbps is not None:
        return sorted({spec.codebooks_for(rate) for rate in kbps if rate >= spec.bitrate(1)})
    if depths is not None:
        return sorted({depth for depth in depths if 1 <= depth <= spec.codebooks})
    return [2**i for i in range(spec.codebooks.bit_length()) if 2**i < spec.codebooks] + [spec.codebooks]


def _about(spec: CodecSpec, depth: int, parameters: int) -> About:
    rates = [rate for rate, stream in zip(spec.frame_rates, spec.streams, strict=True) for _ in stream.codebook_sizes]
    return About(
        parameters, spec.sample_rate, depth, round(spec.bitrate(depth), 4), round(sum(rates[:depth]), 4),
        round(spec.frame_rate, 4), round(1000 * spec.latency / spec.sample_rate, 3),
    )  # fmt: skip
