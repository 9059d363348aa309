"""What a language model of tokens is: its shape, the codec whose codes it writes, and what it can be told."""

from dataclasses import dataclass

from ...codecs.errors import CheckpointError
from ..pattern import Pattern

KINDS = ("delay", "depth", "masked")


@dataclass(frozen=True)
class LanguageConfig:
    """Everything but the weights.

    Attributes:
        kind: "delay", each codebook a column later than the one before (MusicGen); "depth", a transformer over time and a
            smaller one over the codebooks of a column (Moshi); "masked", all frames at once, codebook after codebook (MAGNeT).
        codec, weights_hash: of the tokens.
        frame_rate: Hz.
        sizes: codes of each codebook.
        labels: classes that it knows; none where it is not told any.
        text: whether it is told a text, which it reads as bytes.
        width, layers, heads: of the transformer.
        depth_width, depth_layers: of the transformer over codebooks ("depth").
        dropout: in training.
        span: frames that are masked together ("masked").
    """

    kind: str
    codec: str
    weights_hash: str
    frame_rate: float
    sizes: tuple[int, ...]
    labels: tuple[str, ...] = ()
    text: bool = False
    width: int = 256
    layers: int = 6
    heads: int = 4
    depth_width: int = 128
    depth_layers: int = 2
    dropout: float = 0.0
    span: int = 3

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise CheckpointError(f"the kind of a language model must be one of {', '.join(KINDS)}; got {self.kind!r}")
        if not self.sizes or self.layers < 1 or self.heads < 1 or self.depth_layers < 1:
            raise CheckpointError("a language model needs codebooks, layers and heads, at least one of each")
        for name in ("width", "depth_width"):
            if getattr(self, name) % (2 * self.heads):
                raise CheckpointError(f"{name} must be a multiple of twice the {self.heads} heads; got {getattr(self, name)}")
        if self.labels and self.text:
            raise CheckpointError("a language model is told labels or text, not both: choose one column")

    @property
    def pattern(self) -> Pattern:
        """The order in which codes are written.

        Raises:
            CheckpointError: if the model writes all frames at once.
        """
        if self.kind == "masked":
            raise CheckpointError("a masked model writes all frames at once, in no pattern: use its `fill`")
        return Pattern.delay(self.sizes) if self.kind == "delay" else Pattern.partial_delay(self.sizes)
