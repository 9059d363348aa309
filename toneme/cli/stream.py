"""`codec stream`: live audio on stdin to tokens on stdout, and back, each piece as soon as it is certain."""

import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Self

import typer

from toneme.cli import options
from toneme.cli.failures import complain
from toneme.cli.files import STANDARD

if TYPE_CHECKING:
    import numpy as np

    from toneme.codecs.audio_wav import PcmFormat

ENCODINGS = ("s16le", "f32le")
HEAD_BYTES = 12  # what tells a WAV from bare samples
COMPRESSED = {  # where the first bytes of a file lie that holds no bare samples, these bytes, and what it is
    (0, b"fLaC"): "FLAC", (0, b"OggS"): "Ogg", (0, b"ID3"): "MP3", (0, b"FORM"): "AIFF", (0, b"caff"): "CAF",
    (4, b"ftyp"): "MP4", (0, b"\x1a\x45\xdf\xa3"): "WebM",
}  # fmt: skip

Decode = Annotated[bool, typer.Option("--decode", help="Turn tokens on stdin into audio on stdout.")]
Rate = Annotated[int | None, typer.Option("--rate", min=1, help="Hz of bare samples on stdin.", show_default="the codec's")]
Channels = Annotated[
    int | None, typer.Option("--channels", min=1, help="Channels of bare samples on stdin.", show_default="the codec's")
]
Format = Annotated[str, typer.Option("--format", help=f"Bare samples: {' or '.join(ENCODINGS)}.")]
Wav = Annotated[bool, typer.Option("--wav", help="With --decode: write a WAV header before the samples.")]
ChunkMs = Annotated[
    float, typer.Option("--chunk-ms", min=1, max=60_000, help="Audio per chunk of the token stream: less is sooner.")
]


def stream(
    decode: Decode = False,
    codec: options.CodecName = "default",
    codebooks: options.Codebooks = None,
    bitrate: options.Bitrate = None,
    rate: Rate = None,
    channels: Channels = None,
    format: Format = "s16le",  # noqa: A002 - the option's name
    wav: Wav = False,
    chunk_ms: ChunkMs = 100,
    chunk_seconds: options.ChunkSeconds = None,
    device: options.Device = "auto",
    backend: options.Backend = "auto",
    any_weights: options.AnyWeights = False,
) -> None:
    """Code live audio: bare samples or WAV on stdin to a token stream on stdout; --decode for the way back.

    The token stream is a .tok file: what is piped into a file can be decoded, played and sought in.
    """
    options.check_depth(codebooks, bitrate)
    options.check_chunk(chunk_seconds)
    _check(decode, rate, channels, format, wav, codebooks, bitrate)
    from toneme.cli.coding import choose_depth
    from toneme.kernels.pauses import left_out

    model = options.loader(backend, device, live=True)(codec)
    with left_out():
        if decode:
            decode_stream(model, format, wav, any_weights, chunk_seconds)
        else:
            depth = choose_depth(model, codebooks, bitrate)
            encode_stream(model, depth, rate, channels, format, chunk_ms, chunk_seconds)


def _check(decode: bool, rate: Any, channels: Any, encoding: str, wav: bool, codebooks: Any, bitrate: Any) -> None:
    if encoding not in ENCODINGS:
        raise typer.BadParameter(f"--format must be {' or '.join(ENCODINGS)}; got {encoding!r}")
    if decode and (rate, channels, codebooks, bitrate) != (None, None, None, None):
        raise typer.BadParameter(
            "--rate, --channels, --codebooks and --bitrate are of no use with --decode: the tokens say them"
        )
    if wav and not decode:
        raise typer.BadParameter("--wav goes with --decode; a WAV on stdin is recognised")


def encode_stream(
    model: Any,
    codebooks: int,
    rate: int | None,
    channels: int | None,
    encoding: str,
    chunk_ms: float,
    chunk_seconds: float | None,
) -> None:
    """Read audio from stdin as it comes and write the token stream; an interrupt ends the stream properly."""
    from toneme.codecs.audio_wav import PcmFormat
    from toneme.codecs.errors import AudioError
    from toneme.codecs.tokenfile import TokenWriter

    spec = model.spec
    live = model.encoding(codebooks, chunk_seconds)
    pcm = PcmFormat(rate or spec.sample_rate, channels or spec.channels, encoding)
    with TokenWriter(sys.stdout.buffer, chunk_seconds=chunk_ms / 1000) as writer, Interruptible(sys.stdin.buffer) as stdin:
        for block in live_audio(stdin, pcm, spec):
            writer.write(live.push(block))
        if not live.n_samples:
            raise {
                0: AudioError("no audio came on stdin: pipe bare samples or a WAV into it"),
                signal.SIGINT: KeyboardInterrupt(),
            }.get(stdin.ended_by, typer.Exit(128 + stdin.ended_by))
        writer.write(live.flush())
    if stdin.ended_by == signal.SIGINT:
        complain("interrupted; the token stream was ended properly")
    if stdin.ended_by:
        raise typer.Exit(128 + stdin.ended_by)


class Interruptible:
    """A stream that an interrupt ends; between two reads an interrupt waits for the next, so that no work is cut in two.

    SIGTERM and the terminal's end are interrupts too. Attributes:
        ended_by: the signal that came, 0 for none.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.ended_by, self._reading = 0, False

    def __enter__(self) -> Self:
        known = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
        heard = [number for number in known if signal.getsignal(number) != signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._note) for number in heard}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def read(self, size: int = -1, /) -> bytes:
        """Return `size` bytes, or fewer at the end."""
        return self._take(self._stream.read, size)

    def read1(self, size: int) -> bytes:
        """Return what there is, at most `size` bytes; none at the end."""
        return self._take(getattr(self._stream, "read1", self._stream.read), size)

    def _take(self, read: Callable[[int], bytes], size: int) -> bytes:
        try:
            self._reading = True
            return b"" if self.ended_by else read(size)
        except KeyboardInterrupt:
            return b""
        finally:
            self._reading = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.ended_by = number
        if self._reading:
            raise KeyboardInterrupt


def live_audio(stdin: Interruptible, pcm: "PcmFormat", spec: Any) -> Iterator["np.ndarray"]:
    """Yield audio [channels, samples] at the codec's rate as it arrives.

    Raises:
        AudioError: if a WAV header is damaged, or the audio cannot be brought to the codec's rate and channels.
    """
    from toneme.codecs.audio_resampling import Resampler, check_mix, mix_channels

    pcm, pieces = sniff(stdin, pcm)
    check_mix(pcm.channels, spec.channels)
    mixed = min(pcm.channels, spec.channels)
    resampler = Resampler(pcm.sample_rate, spec.sample_rate, mixed) if pcm.sample_rate != spec.sample_rate else None
    for block in samples(pieces, pcm):
        block = mix_channels(block, mixed)
        yield mix_channels(resampler.push(block) if resampler else block, spec.channels)
    if resampler:
        import numpy as np

        yield mix_channels(resampler.push(np.zeros((mixed, 0), np.float32), last=True), spec.channels)


def sniff(stdin: Interruptible, pcm: "PcmFormat") -> "tuple[PcmFormat, Iterator[bytes]]":
    """Return the layout of the samples (a WAV's own where stdin is one) and their bytes as they arrive.

    Raises:
        AudioError: if it is a WAV of samples that are not plain, its header is damaged, or it is another kind of file.
    """
    from toneme.codecs.audio_wav import is_wav, read_fully, read_header
    from toneme.codecs.errors import AudioError

    head = read_fully(stdin, HEAD_BYTES)
    if not is_wav(head):
        check_bare(head)
        return pcm, _arriving(stdin, head, None)
    header = read_header(stdin, head)
    if header.pcm is None:
        raise AudioError("the WAV on stdin does not hold plain samples: convert it to 16-bit PCM first")
    return header.pcm, _arriving(stdin, b"", header.data_bytes)


def check_bare(head: bytes) -> None:
    """Raise AudioError where the first bytes are those of a file that would be noise as samples."""
    from toneme.codecs.errors import AudioError
    from toneme.codecs.tokenfile_header import MAGIC

    if head.startswith(MAGIC):
        raise AudioError("tokens came on stdin: turn them into audio with --decode")
    for (at, first), kind in COMPRESSED.items():
        if head.startswith(first, at):
            raise AudioError(f"{kind} came on stdin, which takes bare samples or WAV: convert it first, or use codec encode -")


def _arriving(stdin: Interruptible, head: bytes, limit: int | None) -> Iterator[bytes]:
    """Yield bytes as soon as there are any."""
    if head:
        yield head
    while limit is None or limit > 0:
        data = stdin.read1(1 << 16 if limit is None else min(limit, 1 << 16))
        if not data:
            return
        limit = None if limit is None else limit - len(data)
        yield data


def samples(pieces: Iterator[bytes], pcm: "PcmFormat") -> Iterator["np.ndarray"]:
    """Yield audio [channels, samples] of whole frames."""
    import numpy as np

    from toneme.codecs.audio_wav import from_bytes

    waiting = b""
    for piece in pieces:
        waiting += piece
        whole = len(waiting) // pcm.frame_bytes * pcm.frame_bytes
        if whole:
            yield np.ascontiguousarray(from_bytes(waiting[:whole], pcm).T)
        waiting = waiting[whole:]


def decode_stream(model: Any, encoding: str, wav: bool, any_weights: bool, chunk_seconds: float | None) -> None:
    """Read a token stream from stdin and write samples as soon as they are certain."""
    from toneme.cli.coding import decode_pieces, pcm_bytes
    from toneme.cli.sources import open_tokens
    from toneme.codecs.audio_wav import PcmFormat, make_header

    out = sys.stdout.buffer
    with open_tokens(STANDARD) as tokens:
        if wav:
            out.write(make_header(PcmFormat(model.spec.sample_rate, model.spec.channels, encoding), None))
            out.flush()
        for block in decode_pieces(model, tokens, tokens.length, any_weights, chunk_seconds):
            out.write(pcm_bytes(block, encoding))
            out.flush()
