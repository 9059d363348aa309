"""`codec info`: what a token file, an audio file or a codec is."""

import json as json_format
from pathlib import Path
from typing import Annotated, Any

import typer

from toneme.cli import options
from toneme.cli.failures import complain
from toneme.cli.files import AUDIO, TOKENS

Subjects = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE_OR_CODEC...", help="Token files, audio files, codec names or codec folders.", show_default=False,
        autocompletion=options.complete_codec,
    ),
]  # fmt: skip
Verify = Annotated[bool, typer.Option("--verify", help="Read token files to their end and check every CRC.")]


def info(
    subjects: Subjects, verify: Verify = False, chunk_seconds: options.ChunkSeconds = None, json: options.Json = False
) -> None:
    """Say what a token file, an audio file or a codec is.

    Of a codec, `stream` says how much audio there must be before its streams give anything, by --chunk-seconds if given.
    """
    options.check_chunk(chunk_seconds)
    found = [examine(subject, verify, chunk_seconds) for subject in subjects]
    if json:
        print(json_format.dumps(found[0] if len(found) == 1 else found))
    else:
        print("\n\n".join("\n".join(_lines(about)) for about in found))
    damaged = [about for about in found if about.get("damage")]
    for about in damaged:
        complain(f"{about['file']}: {about['damage']}")
    if damaged:
        raise typer.Exit(1)


def examine(subject: str, verify: bool, chunk_seconds: float | None = None) -> dict[str, Any]:
    """Return the figures of a file or codec in plain JSON types."""
    from toneme.codecs.registry import codec_names

    path = Path(subject)
    if subject in codec_names() or path.is_dir() or not (path.exists() or _looks_like_file(path)):
        return about_codec(subject, chunk_seconds)
    return about_tokens(path, verify) if holds_tokens(path) else about_audio(path)


def about_codec(name: str, chunk_seconds: float | None = None) -> dict[str, Any]:
    """Return what a codec is, and what its streams wait for; its weights are not read.

    Raises:
        ShapeError: if the codec's weights fix what it works on at once, and chunks were asked for.
    """
    from toneme.cli.listing import row
    from toneme.codecs.registry import describe, find_folder
    from toneme.export.manifest import is_exported, read_manifest

    if is_exported(name):
        about = read_manifest(name)
        return {
            "kind": "exported codec", "name": about.codec, "family": about.family, "folder": name,
            "weights_hash": about.weights_hash, "licence": about.licence, "spec": about.spec.to_dict(),
            "stream": about_streams(about.latencies(chunk_seconds), about.sample_rate),
        }  # fmt: skip
    from toneme.kernels.native import library  # not above: it imports torch

    about = describe(find_folder(name), chunk_seconds)
    stream = {"stream": about_streams(about.latencies, about.spec.sample_rate)}
    return {"kind": "codec"} | row(about) | stream | {"kernels": "C" if library() else "PyTorch"}


def about_streams(latencies: tuple[int | None, int | None], sample_rate: int) -> dict[str, float | None]:
    """Return the seconds of audio that there must be before an encoder, and a decoder, gives anything."""
    seconds = [None if samples is None else samples / sample_rate for samples in latencies]
    return dict(zip(("encoder_seconds", "decoder_seconds"), seconds, strict=True))


def about_audio(path: Path) -> dict[str, Any]:
    """Return what an audio file's header says."""
    from toneme.codecs.audio_reading import AudioReader

    with AudioReader(str(path)) as reader:
        samples, rate = reader.n_samples, reader.source_rate
        return {
            "kind": "audio", "file": str(path), "bytes": path.stat().st_size, "sample_rate": rate,
            "channels": reader.source_channels, "samples": samples, "seconds": None if samples is None else samples / rate,
        }  # fmt: skip


def about_tokens(path: Path, verify: bool) -> dict[str, Any]:
    """Return what a token file says, and with `verify` what is wrong with it."""
    from toneme.cli.sources import open_tokens
    from toneme.codecs.tokenfile import TokenReader

    with open_tokens(path) as source:
        content = source.content
        is_tok = isinstance(content, TokenReader)
        about = content.header
        sizes = [list(map(int, stream)) for stream in about.codebook_sizes]
        figures = {
            "kind": "tokens", "file": str(path), "bytes": path.stat().st_size, "format": ".tok" if is_tok else path.suffix,
            "codec": about.codec, "weights_hash": about.weights_hash, "sample_rate": about.sample_rate,
            "channels": about.channels, "frame_rates": list(about.frame_rates), "codebook_sizes": sizes,
            "codebooks": sum(map(len, sizes)), "metadata": dict(about.metadata),
        }  # fmt: skip
        figures |= _length(source.length(), figures)
        if is_tok:
            figures["encoding"] = about.encoding
            if verify:
                figures |= _verified(content, figures)
    return figures | _licence(figures["codec"])


def _length(samples: int | None, figures: dict[str, Any]) -> dict[str, Any]:
    seconds = None if samples is None else samples / figures["sample_rate"]
    return {"samples": samples, "seconds": seconds, "kbps": figures["bytes"] * 8 / seconds / 1000 if seconds else None}


def _verified(reader: Any, figures: dict[str, Any]) -> dict[str, Any]:
    report = reader.verify()
    found = {"frames": list(report.frames), "chunks": report.packed + report.entropy, "damage": report.damage}
    return found | ({} if report.damage else _length(report.n_samples, figures))


def _licence(codec: str) -> dict[str, Any]:
    from toneme.codecs.registry import codec_names, describe, find_folder

    if codec not in codec_names():
        return {}
    folder = find_folder(codec)
    said = json_format.loads((folder / "config.json").read_bytes())["config"].get("licence")
    return {"licence": describe(folder).spec.licence if said is None else said}


def _looks_like_file(path: Path) -> bool:
    return path.suffix.lower() in AUDIO | TOKENS


def holds_tokens(path: Path) -> bool:
    """Return whether a file is one of tokens, by its suffix or first bytes."""
    if path.is_file() and path.suffix.lower() not in AUDIO:
        with path.open("rb") as file:
            return path.suffix.lower() in TOKENS or file.read(4) in (b"\xffTOK", b"ECDC")
    return path.suffix.lower() in TOKENS


def _lines(about: dict[str, Any]) -> list[str]:
    """Return figures as `key: value` lines, nested ones indented by their key."""
    flat: dict[str, Any] = {}
    for key, value in about.items():
        flat |= {f"{key}.{inner}": item for inner, item in value.items()} if isinstance(value, dict) else {key: value}
    return [f"{key}: {_text(value)}" for key, value in flat.items()]


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value) or "none"
    return "unknown" if value in (None, "") else str(value)
