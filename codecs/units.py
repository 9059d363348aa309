"""Units of a speech model: the nearest k-means centre of each of its features. They say what is said, and have no sound.

Sources: Hsu et al., "HuBERT", 2021, section II-A; Lakhotia et al., "On Generative Spoken Language Modeling from Raw Audio",
2021.
"""

from dataclasses import dataclass, field

from torch import Tensor

from ..quantizers.kmeans import KMeansTokenizer
from .base import Codec, Encoded
from .chunk_seconds import seconds_or
from .chunking import Plan, WindowEncoder, awaited
from .errors import ShapeError
from .spec import CodecSpec, StreamSpec
from .streaming import StreamDecoder
from .teachers import HOP, SAMPLE_RATE, Teacher, TeacherConfig


@dataclass(frozen=True)
class UnitsConfig:
    """Everything that shapes the tokenizer.

    Attributes:
        teacher: the speech model, whose weights are among the tokenizer's own, and its layer.
        codebook_size: centres.
        chunk, window: seconds of long audio that are worked on at once, and samples that they see on either side, since the
            speech model would see all of it.
        licence: of the weights.
    """

    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    codebook_size: int = 500
    chunk: float = 10.0
    window: int = 32000
    licence: str = ""


class UnitsCodec(Codec):
    """Audio to units, 50 a second; `decode` refuses."""

    Config = UnitsConfig
    family = "units"
    chunked = True
    config: UnitsConfig

    def __init__(self, config: UnitsConfig, name: str = "") -> None:
        super().__init__(config, name)
        self.teacher = Teacher.from_config(config.teacher)
        self.quantizer = KMeansTokenizer(self.teacher.dimension, config.codebook_size)

    @property
    def spec(self) -> CodecSpec:
        config = self.config
        stream = StreamSpec(HOP, (config.codebook_size,), ("semantic",))
        ahead = awaited(HOP, SAMPLE_RATE, config.window, config.chunk)
        return CodecSpec(SAMPLE_RATE, 1, (stream,), causal=False, lookahead=ahead, licence=config.licence)

    def n_frames(self, n_samples: int) -> tuple[int, ...]:
        """Return the speech model's frames: less than 80 samples at the end give none."""
        return (self.teacher.n_frames(n_samples),)

    @property
    def window(self) -> str:
        """The chunks that audio in memory goes in, as that of a stream does."""
        return str(Plan(self, self.config.window, self.config.chunk))

    def _encode(self, waveform: Tensor, codebooks: int) -> Encoded:
        return self.stream_encoder(waveform.shape[0], codebooks).encode(waveform)

    def encode_piece(self, waveform: Tensor, codebooks: int, alone: bool) -> tuple[Tensor, ...]:
        """Return the units of a waveform that is worked on at once, `alone` where it is all of the audio."""
        if not self.n_frames(waveform.shape[-1])[0]:
            return self._empty(waveform.shape[0], codebooks)[0]
        return (self.quantizer.encode(self.teacher(waveform[:, 0]).transpose(1, 2)),)

    def stream_encoder(self, batch: int = 1, codebooks: int | None = None, chunk_seconds: float | None = None) -> WindowEncoder:
        """Return an encoder of long audio in chunks that see `config.window` samples on either side, not all of it."""
        return WindowEncoder(self, batch, codebooks, self.config.window, seconds_or(chunk_seconds, self.config.chunk))

    def _decode(self, streams: tuple[Tensor, ...], side: dict[str, Tensor], n_samples: int) -> Tensor:
        raise self._silent()

    def stream_decoder(self, batch: int = 1, chunk_seconds: float | None = None) -> StreamDecoder:
        """Refuse: units have no sound.

        Raises:
            ShapeError: always.
        """
        raise self._silent()

    def latencies(self, chunk_seconds: float | None = None) -> tuple[int | None, int | None]:
        """Return the encoder's."""
        return self.stream_encoder(chunk_seconds=chunk_seconds).latency, None

    def _silent(self) -> ShapeError:
        return ShapeError(f"{self.name} makes units, which say what is said and have no sound: choose a codec that decodes")
