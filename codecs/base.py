"""The base of every codec: what `encode`, `decode`, `save` and `load` promise, whatever the family."""

import dataclasses
import json
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from ..quantizers.residual import ResidualVQ
from .audio import fit_waveform
from .batches import Codes, Encoded, as_streams, equal_rows, join_rows, take_rows, zero_beyond
from .checkpoint import Undrawn, hash_weights, load_weights, save_weights
from .coder import check_options
from .config import config_from_dict, read_config, set_fields
from .counts import counts, whole
from .errors import AudioError, CheckpointError, ShapeError
from .files import atomic_path
from .half_precision import inference, plain_defaults
from .kept_hash import KeptHash
from .pieces import check_maker, check_row
from .spec import CodecSpec
from .streaming import StreamDecoder, StreamEncoder
from .tokens import Tokens
from .waveforms import as_batch, check_float, check_lengths

INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.uint64)


class Codec(nn.Module):
    """Audio to codes and back.

    A family gives a frozen `Config`, `spec`, `_encode`, `_decode` and the two streams; the rest stands here.
    `_encode` sees items of one length, since most codecs pad in a way that depends on the end; a family whose codes
    do not depend on what lies beyond an item's end sets `pads_exactly` and gets the whole batch at once.
    """

    Config: ClassVar[type]
    family: ClassVar[str]
    pads_exactly: ClassVar[bool] = False
    _kept_hash: KeptHash | None = None
    chunked: ClassVar[bool] = False  # its streams work in chunks, whose length a caller may choose
    large: ClassVar[bool] = False  # its weights are never in memory twice, nor to read the specification alone

    def __init__(self, config: Any, name: str = "") -> None:
        super().__init__()
        self.config = config
        self.name = name or self.family

    # -- what a family gives ------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def spec(self) -> CodecSpec:
        """What the codec is, in numbers."""

    @abstractmethod
    def _encode(self, waveform: Tensor, codebooks: int) -> Encoded:
        """Code a waveform [batch, channels, samples >= 1] at the codec's own rate."""

    @abstractmethod
    def _decode(self, streams: tuple[Tensor, ...], side: dict[str, Tensor], n_samples: int) -> Tensor:
        """Return audio [batch, channels, about n_samples] of codes with at least one frame."""

    @abstractmethod
    def stream_encoder(self, batch: int = 1, codebooks: int | None = None, chunk_seconds: float | None = None) -> StreamEncoder:
        """Return an encoder that takes audio in pieces of any length.

        Args:
            batch: streams that run in step.
            codebooks: how many to use, all by default.
            chunk_seconds: audio that a codec which is not causal works on at once, beside what it hears around that; the
                codec's own by default. Shorter chunks come sooner and cost more; `latency` of the stream says how soon. Codes
                are the same whatever the length, save those of codecs that would see everything, whose tokens record the
                chunk and its context as their `window`. Codecs that go frame by frame do so whatever is asked for.

        Raises:
            ShapeError: if `chunk_seconds` is no number above 0, or the codec's weights fix what it works on at once.
        """

    @abstractmethod
    def stream_decoder(self, batch: int = 1, chunk_seconds: float | None = None) -> StreamDecoder:
        """Return a decoder that takes frames in pieces of any length; for `chunk_seconds` see `stream_encoder`.

        Raises:
            ShapeError: as `stream_encoder`.
        """

    def latencies(self, chunk_seconds: float | None = None) -> tuple[int | None, int | None]:
        """Return the `latency` of a stream encoder and of a stream decoder in samples, None where there is none."""
        return self.stream_encoder(chunk_seconds=chunk_seconds).latency, self.stream_decoder(1, chunk_seconds).latency

    @property
    def decode_options(self) -> dict[str, float]:
        """What `decode` can be told beside codes, and what it goes by now: nothing with most codecs."""
        return {}

    def set_decode_options(self, **options: float) -> None:
        """Tell `decode` how to work from now on.

        Raises:
            ShapeError: if the codec does not have such an option, or not such a value.
        """
        known = self.decode_options
        check_options(self.name, options, known)
        if options:
            self._set_decode_options(known | options)

    def _set_decode_options(self, options: dict[str, float]) -> None:
        raise NotImplementedError

    @property
    def encode_options(self) -> dict[str, int]:
        """What `encode` can be told beside audio, and what it goes by now.

        `beam` of codecs with residual codebooks is how many choices are kept at each of them: 1 takes the nearest code of one
        after another; with 16 the codes end nearer to the audio, encoding takes longer, and decoding knows nothing of it.
        With a beam, codes of fewer codebooks are not a prefix of more, but those that are best when they stand alone.
        """
        residual = self._residual()
        return {"beam": residual[0].beam} if residual else {}

    def set_encode_options(self, **options: int) -> None:
        """Tell `encode` how to work from now on.

        Raises:
            ShapeError: if the codec does not have such an option, or not such a value.
        """
        check_options(self.name, options, self.encode_options, encoding=True)
        for value in options.values():
            beam = whole(value, "beam")
            if beam < 1:
                raise ShapeError(f"beam must be at least 1; got {beam}")
            for quantizer in self._residual():
                quantizer.beam = beam

    def _residual(self) -> list[ResidualVQ]:
        """Return the quantizers in which a beam can find what the nearest codes miss."""
        parts = quantizer.modules() if isinstance(quantizer := getattr(self, "quantizer", None), nn.Module) else ()
        return [part for part in parts if isinstance(part, ResidualVQ) and part.depth > 1]

    @property
    def window(self) -> str:
        """How much audio a frame of `encode` hears, as its tokens record it; "" where a receptive field bounds that."""
        return "" if self.spec.causal or self.spec.receptive_field is not None else "whole"

    def n_frames(self, n_samples: int) -> tuple[int, ...]:
        """Return the frames of each stream for audio of `n_samples` at the codec's rate."""
        return tuple(-(-n_samples // stream.hop) for stream in self.spec.streams)

    # -- encode and decode --------------------------------------------------------------------------------------

    def encode(
        self,
        waveform: Tensor,
        sample_rate: int | None = None,
        lengths: Tensor | Sequence[int] | None = None,
        codebooks: int | None = None,
    ) -> Tokens:
        """Turn audio into tokens.

        Args:
            waveform: float [batch, channels, samples]; [channels, samples] and [samples] are taken as one item.
            sample_rate: Hz; None means the codec's own. Other rates are resampled, channels mixed or repeated.
            lengths: whole numbers of samples in use of each item, at `sample_rate`; codes of an item are those of the item
                alone.
            codebooks: how many to use, all by default; fewer are a prefix of more, but with a beam (`encode_options`).

        Raises:
            AudioError: if the audio holds NaN or infinity.
            ShapeError: if shapes, lengths or codebooks do not fit.
        """
        depth = self.spec.check_codebooks(codebooks)
        waveform = as_batch(waveform)
        with inference(self):
            lengths = check_lengths(lengths, waveform)
            rate = self.spec.sample_rate if sample_rate is None else sample_rate
            waveform, lengths = fit_waveform(waveform, lengths, rate, self.spec)
            waveform = self.check_waveform(waveform.to(self.device))
            streams, side = self._encode_batch(waveform, lengths, depth)
            tokens = self.make_tokens(streams, lengths, side, self.window, self.encode_options)
        return tokens.clone()  # what was made without gradients could not take part in training

    def decode(self, tokens: Tokens, any_weights: bool = False) -> Tensor:
        """Turn tokens back into audio [batch, channels, samples]; item i fills exactly its `n_samples`, zeros follow.

        Args:
            tokens: made by this codec.
            any_weights: decode though other weights made the codes.

        Raises:
            CheckpointError: if another codec, or this one with other weights, made the tokens.
            ShapeError: if codes are out of range, or are no `Tokens`.
        """
        if not isinstance(tokens, Tokens):
            raise ShapeError(f"decode takes Tokens; got {type(tokens).__name__}: codec.tokens_from_codes makes them of codes")
        self.check_tokens(tokens, any_weights)
        with inference(self):
            return self._decode_batch(tokens.to(self.device))

    def forward(self, waveform: Tensor) -> Tensor:
        """Encode and decode: [batch, channels, samples] to the same shape, at the codec's rate."""
        return self.decode(self.encode(waveform))

    def _encode_batch(self, waveform: Tensor, lengths: Tensor, depth: int) -> Encoded:
        if not waveform.numel():
            return self._empty(waveform.shape[0], depth)
        if self.pads_exactly:
            beyond = torch.arange(waveform.shape[-1], device=waveform.device) >= lengths.to(waveform.device)[:, None]
            return self._encode(waveform.masked_fill(beyond[:, None], 0), depth)
        parts, rows = [], []
        for items in equal_rows(lengths[:, None]):
            n = int(lengths[items[0]])
            parts.append(self._encode(waveform[items, :, :n], depth) if n else self._empty(len(items), depth))
            rows.append(items)
        return join_rows(parts, torch.cat(rows))

    def _decode_batch(self, tokens: Tokens) -> Tensor:
        check_row(tokens.metadata)
        self.check_streams(tokens.streams)
        for n_samples, n_frames in zip(tokens.n_samples.tolist(), tokens.lengths.tolist(), strict=True):
            self.check_length(n_samples, tuple(n_frames))
        longest = int(tokens.n_samples.max()) if tokens.batch else 0
        with torch.inference_mode(False):  # or the audio could not take part in training
            out = torch.zeros(tokens.batch, self.spec.channels, longest, device=self.device, dtype=torch.float32)
        for items in equal_rows(torch.cat([tokens.lengths, tokens.n_samples[:, None]], dim=1)):
            part = take_rows(tokens, items)
            n = int(part.n_samples[0])
            if n and part.streams[0].shape[-1]:
                audio = self._decode(part.streams, dict(part.side), n)[..., :n]
                out[items, :, : audio.shape[-1]] = audio.to(out.dtype)
        return out

    def _empty(self, batch: int, depth: int) -> Encoded:
        streams = []
        for stream in self.spec.streams:
            streams.append(torch.zeros(batch, min(depth, len(stream.codebook_sizes)), 0, dtype=torch.int64, device=self.device))
            depth = max(0, depth - len(stream.codebook_sizes))
        return tuple(streams), {name: torch.zeros(batch, 0, device=self.device) for name in self.spec.side}

    # -- tokens -------------------------------------------------------------------------------------------------

    def make_tokens(
        self,
        streams: tuple[Tensor, ...],
        n_samples: Iterable[int] | Tensor | None,
        side: dict[str, Tensor] | None = None,
        window: str = "",
        options: Mapping[str, int] | None = None,
    ) -> Tokens:
        """Wrap codes with what this codec knows; frames beyond an item's own are zeroed.

        `n_samples` None is a piece of a stream that has not ended: it keeps all frames and counts no samples. `window` is kept
        in the metadata where there is one, and so is a beam of more than one of the `options` that `encode` went by.
        """
        metadata = {"window": window} if window else {}
        metadata |= {"beam": str(beam)} if (beam := (options or {}).get("beam", 1)) > 1 else {}
        available = torch.tensor([codes.shape[-1] for codes in streams])
        if n_samples is None:
            samples = torch.zeros(streams[0].shape[0], dtype=torch.int64)
            lengths = available.expand(len(samples), -1).clone()
        else:
            samples = torch.as_tensor(n_samples if isinstance(n_samples, Tensor) else list(n_samples), dtype=torch.int64)
            wanted = [self.n_frames(int(n)) for n in samples]
            lengths = torch.tensor(wanted, dtype=torch.int64).view(len(samples), len(streams)).minimum(available)
        streams = tuple(zero_beyond(codes, lengths[:, i]) for i, codes in enumerate(streams))
        sizes = tuple(stream.codebook_sizes[: codes.shape[1]] for stream, codes in zip(self.spec.streams, streams, strict=True))
        return Tokens(
            streams, lengths, samples, self.name, self.weights_hash, self.spec.sample_rate, self.spec.channels,
            self.spec.frame_rates, sizes, side or {}, self.spec.side_period, metadata,
        )  # fmt: skip

    def tokens_from_codes(
        self,
        codes: Codes | Sequence[Codes],
        n_samples: int | Sequence[int] | None = None,
        side: dict[str, Tensor] | None = None,
    ) -> Tokens:
        """Make tokens of codes [batch, codebooks, frames] (a list of streams where rates differ).

        Args:
            codes: integers within the codebooks, in tensors or arrays.
            n_samples: samples of each item, or of all; by default frames * hop.
            side: numbers that travel with the codes, for the codecs whose `spec.side` names some.

        Raises:
            ShapeError: if a shape or a code does not fit the codec.
        """
        streams = self.check_streams(tuple(stream.to(self.device) for stream in as_streams(codes)))
        batch = streams[0].shape[0]
        if n_samples is None:
            n_samples = self.max_samples(tuple(stream.shape[-1] for stream in streams))
        one = not hasattr(n_samples, "__len__") or getattr(n_samples, "ndim", 1) == 0
        samples = [whole(n_samples, "n_samples")] * batch if one else counts(n_samples, "n_samples").tolist()
        if len(samples) != batch or any(n < 0 for n in samples):
            raise ShapeError(f"n_samples must be {batch} counts from 0 up, one per item; got {samples}")
        return self.make_tokens(streams, samples, side)

    def max_samples(self, n_frames: tuple[int, ...]) -> int:
        """Return the most samples that so many frames of each stream can stand for."""
        return self.spec.max_samples(n_frames)

    def check_length(self, n_samples: int, n_frames: tuple[int, ...]) -> None:
        """Raise ShapeError where codes claim over a second more than their frames stand for: a file may claim anything."""
        self.spec.check_length(n_samples, self.max_samples(n_frames))

    def check_streams(self, streams: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the streams if they are int64 codes of this codec.

        Raises:
            ShapeError: if their number, shape, type or range is not this codec's.
        """
        if len(streams) != len(self.spec.streams):
            raise ShapeError(f"{self.name} has {len(self.spec.streams)} streams of codes; got {len(streams)}")
        for codes, stream in zip(streams, self.spec.streams, strict=True):
            most = len(stream.codebook_sizes)
            if codes.ndim != 3 or codes.dtype not in INTEGERS or codes.shape[1] > most:
                raise ShapeError(
                    f"codes must be integers [batch, at most {most} codebooks, frames]; got {codes.dtype} {list(codes.shape)}"
                )
            if codes.numel():
                codes = codes.long()  # PyTorch finds no extremes of some other types
                sizes = torch.tensor(stream.codebook_sizes[: codes.shape[1]], device=codes.device)
                low, high = codes.amin((0, 2)), codes.amax((0, 2))
                if bool((low < 0).any() | (high >= sizes).any()):
                    raise ShapeError(
                        f"codes must be from 0 to {max(stream.codebook_sizes) - 1}; got {int(low.min())} to {int(high.max())}"
                    )
        if len({len(codes) for codes in streams}) > 1 or not any(codes.shape[1] for codes in streams):
            raise ShapeError(
                "codes must be of one codebook at least, in batches of one size; "
                f"got {', '.join(str(list(codes.shape)) for codes in streams)}"
            )
        return tuple(codes.long() for codes in streams)

    def check_tokens(self, tokens: Tokens, any_weights: bool = False) -> None:
        """Raise CheckpointError unless this codec, with these weights, made the tokens."""
        check_maker(tokens, self.name, self.weights_hash, any_weights)

    def check_waveform(self, waveform: Tensor) -> Tensor:
        """Return float audio [batch, channels, samples] of this codec's channels.

        Raises:
            ShapeError: if the shape or the type is another.
            AudioError: if it holds NaN or infinity.
        """
        check_float(waveform)
        if waveform.ndim != 3 or waveform.shape[1] != self.spec.channels:
            raise ShapeError(f"audio must be [batch, {self.spec.channels}, samples]; got {list(waveform.shape)}")
        waveform = waveform.to(self.device, self.dtype)
        if not torch.isfinite(waveform).all():  # what this type does not hold is infinite
            raise AudioError("the audio holds NaN or infinite samples: repair or cut them first")
        return waveform

    # -- weights ------------------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return next(self.parameters()).dtype

    @property
    def weights_hash(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the family, what is set in the configuration, and the weights.

        Fields at their defaults and the licence do not count: a field that a later version adds leaves old tokens valid. Nor
        does the number format that the weights are used in: of a codec in bfloat16 it is that of the weights it was made of.
        """
        if self._kept_hash is None or not self._kept_hash.holds():
            self._kept_hash = KeptHash(self._hash_weights(), self)
        return self._kept_hash.text

    def _hash_weights(self, saved: Path | None = None) -> str:
        return hash_weights({"family": self.family, "config": set_fields(self.config)}, self.state_dict(), saved)

    def config_dict(self) -> dict:
        """Return the content of `config.json`."""
        return {"family": self.family, "name": self.name, "config": dataclasses.asdict(self.config)}

    def save(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors` into a folder, which is made if need be."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_weights(self.state_dict(), folder / "model.safetensors")
        with atomic_path(folder / "config.json") as partial:
            partial.write_text(json.dumps(self.config_dict(), indent=2) + "\n")

    @classmethod
    def from_folder(cls, folder: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            CheckpointError: if the files are missing, of another family, or do not fit together.
        """
        folder = Path(folder)
        about = read_config(folder)
        if about["family"] != cls.family:
            raise CheckpointError(f"{folder} holds a codec of family {about['family']}, not {cls.family}")
        with plain_defaults():
            codec = cls.unloaded(config_from_dict(cls.Config, about["config"]), about["name"])
            load_weights(codec, folder / "model.safetensors")
        if cls.large:
            codec._kept_hash = KeptHash(codec._hash_weights(folder / "model.safetensors"), codec)
        return codec.eval()

    @classmethod
    def unloaded(cls, config: Any, name: str) -> Self:
        """Return a codec that is about to be loaded: no first weights are drawn, so that they take no time and no memory."""
        with Undrawn():
            return cls(config, name)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._kept_hash = None
        super()._load_from_state_dict(*args, **kwargs)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        first = next(self.parameters(), None)
        if first is not None and not first.is_meta and fn(first.detach().new_ones(1)).dtype != first.dtype:
            self.weights_hash  # noqa: B018 - reading keeps it: rounded weights would have another
        kept = self._kept_hash if self._kept_hash is not None and self._kept_hash.holds() else None
        super()._apply(fn, recurse)
        self._keep(kept)
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._keep(self._kept_hash if self._kept_hash is not None and self._kept_hash.text else None)

    def _keep(self, kept: KeptHash | None) -> None:
        """Keep a hash for the weights as they are now, which are the same in another place or format."""
        self._kept_hash = kept
        if kept is not None:
            kept.renew(self)
