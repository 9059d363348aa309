"""`codec play`: audio and token files through the loudspeaker."""

import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, cast

import typer

from toneme.cli import options
from toneme.cli.files import STANDARD

if TYPE_CHECKING:
    import numpy as np

File = Annotated[
    Path, typer.Argument(metavar="FILE", help="A token file, an audio file, or - for tokens on stdin.", show_default=False)
]

PLAYERS: dict[str, Callable[[int, int], list[str]]] = {  # program -> arguments to play s16le from stdin
    "aplay": lambda rate, channels: ["-q", "-t", "raw", "-f", "S16_LE", "-r", str(rate), "-c", str(channels), "-"],
    "paplay": lambda rate, channels: ["--raw", "--format=s16le", f"--rate={rate}", f"--channels={channels}"],
    "pw-play": lambda rate, channels: ["--format=s16", f"--rate={rate}", f"--channels={channels}", "-"],
    "ffplay": lambda rate, channels: [
        "-nodisp", "-autoexit", "-loglevel", "error", "-f", "s16le", "-ar", str(rate), "-ac", str(channels), "-i", "-",
    ],
}  # fmt: skip


def play(
    file: File,
    codec: options.DecodeCodec = None,
    device: options.Device = "auto",
    any_weights: options.AnyWeights = False,
    salvage: options.Salvage = False,
) -> None:
    """Play a token file or an audio file.

    Through the package sounddevice where it is installed, else through aplay, paplay, pw-play or ffplay.
    """
    from toneme.cli.info import holds_tokens

    open_player = find_player()
    if file == STANDARD or holds_tokens(file):
        _play_tokens(file, codec, device, any_weights, salvage, open_player)
    else:
        _play_audio(file, open_player)


def _play_tokens(file: Path, codec: str | None, device: str, any_weights: bool, salvage: bool, open_player: Any) -> None:
    from toneme.cli.coding import decode_source, with_progress
    from toneme.cli.decode import Models
    from toneme.cli.sources import open_tokens

    models = Models(codec, device)
    with open_tokens(file, models.given, salvage, any_weights) as tokens:
        model = models.of(tokens.codec, tokens.name)
        channels, blocks = decode_source(model, tokens, any_weights)
        with open_player(model.spec.sample_rate, channels) as write:
            _send(with_progress(blocks, tokens.name, tokens.length()), write)


def _play_audio(file: Path, open_player: Any) -> None:
    from toneme.cli.coding import with_progress
    from toneme.codecs.audio_reading import AudioReader

    with AudioReader(str(file), block_seconds=0.5) as reader, open_player(reader.sample_rate, reader.channels) as write:
        _send(with_progress(reader.blocks(), file.name, reader.n_samples), write)


def _send(blocks: Iterable["np.ndarray"], write: Callable[[bytes], Any]) -> None:
    from toneme.cli.coding import pcm_bytes

    for block in blocks:
        write(pcm_bytes(block, "s16le"))


def find_player() -> Callable[[int, int], Any]:
    """Return a context manager that takes rate and channels and gives a function for s16le bytes.

    Raises:
        MissingDependencyError: if nothing that plays is installed.
    """
    from toneme.codecs.errors import MissingDependencyError, how_to_install

    try:
        import sounddevice  # pyright: ignore[reportMissingImports]
    except (ImportError, OSError):  # OSError: the package is there and the PortAudio library is not
        programs = [name for name in PLAYERS if shutil.which(name)]
        if not programs:
            raise MissingDependencyError(
                f"nothing to play with: {how_to_install('play')}, or install one of {', '.join(PLAYERS)}; "
                "`codec decode` writes a file instead"
            ) from None
        return lambda rate, channels: _program(programs[0], rate, channels)
    return lambda rate, channels: _sounddevice(sounddevice, rate, channels)


@contextmanager
def _sounddevice(module: Any, rate: int, channels: int) -> Iterator[Callable[[bytes], Any]]:
    from toneme.codecs.errors import AudioError

    try:
        with module.RawOutputStream(samplerate=rate, channels=channels, dtype="int16") as stream:
            yield stream.write
    except module.PortAudioError as error:
        raise AudioError(f"the sound device failed ({error}): check that one is connected, or use `codec decode`") from None


@contextmanager
def _program(name: str, rate: int, channels: int) -> Iterator[Callable[[bytes], Any]]:
    from toneme.codecs.errors import AudioError

    command = [name, *PLAYERS[name](rate, channels)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        yield cast(BinaryIO, process.stdin).write
        _, messages = process.communicate()
    except BrokenPipeError:
        _, messages = process.communicate()
    except BaseException:
        process.kill()
        process.communicate()
        raise
    if process.returncode:
        reason = " ".join(messages.decode(errors="replace").split())[:200] or f"exit status {process.returncode}"
        raise AudioError(f"{name} could not play ({reason}): check that a sound device is connected, or use `codec decode`")
