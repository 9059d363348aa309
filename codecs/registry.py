"""Where codecs come from: the packaged ones by name, folders, the Hugging Face hub, and official checkpoints.

Nothing heavy is imported with this module, so that the command line can list names without loading torch.
"""

import contextlib
import difflib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .base import Codec
    from .spec import CodecSpec

# Name in config.json -> module and class. A module's OFFICIAL table, name -> function of the official tensors, serves
# `from_official`.
FAMILIES = {
    "bigcodec": (".bigcodec", "BigCodec"),
    "dac": (".dac", "DacCodec"),
    "encodec": (".encodec", "EncodecCodec"),
    "mimi": (".mimi", "MimiCodec"),
    "semanticodec": (".semanticodec_official", "SemantiCodec"),
    "snac": (".snac", "SnacCodec"),
    "speechtokenizer": (".speechtokenizer", "SpeechTokenizerCodec"),
    "toneme": (".toneme24k", "TonemeCodec"),
    "units": (".units", "UnitsCodec"),
    "wavtokenizer": (".wavtokenizer", "WavTokenizerCodec"),
    "xcodec": (".xcodec", "XCodec"),
    "xcodec2": (".xcodec2", "XCodec2"),
}
ALIASES = {"default": "toneme-24k"}
WEIGHTS = Path(__file__).parent / "weights"
HUB = "hf://"


@dataclass(frozen=True)
class CodecInfo:
    """A saved codec without its weights: names, family, folder, how many parameters, and what it is in numbers.

    `latencies` are those of its stream encoder and decoder in samples, None where there is none.
    """

    name: str
    aliases: tuple[str, ...]
    family: str
    folder: Path
    parameters: int
    spec: "CodecSpec"
    latencies: tuple[int | None, int | None]


def codec_names() -> list[str]:
    """Return the names of the packaged codecs, aliases included; reads no weights and imports nothing."""
    packaged = sorted(path.parent.name for path in WEIGHTS.glob("*/config.json"))
    return [alias for alias, name in ALIASES.items() if name in packaged] + packaged


def load(name: str | Path, device: str = "cpu") -> "Codec":
    """Return a codec ready to encode and decode.

    Args:
        name: a packaged codec ("default", "toneme-24k"), a folder with `config.json` and `model.safetensors`, or
            "hf://org/name", where "@revision" may follow. A packaged name wins over a folder of the same name;
            write "./name" for the folder.
        device: "cpu", "cuda", "cuda:1", or "auto" for CUDA where there is one.

    Raises:
        CodecNotFoundError: if nothing answers to the name.
        CheckpointError: if the folder's files are missing, damaged, or do not fit together.
        TonemeError: if there is no such device.
    """
    device = pick_device(device)
    folder = find_folder(name)
    return codec_class(folder).from_folder(folder).to(device)


def find_folder(name: str | Path) -> Path:
    """Return the folder of a codec's files, fetched first where the name starts with "hf://".

    Raises:
        CodecNotFoundError: if nothing answers to the name.
    """
    text = str(name)
    if text.startswith(HUB):
        from .hub import fetch

        return fetch(text)
    packaged = WEIGHTS / ALIASES.get(text, text)
    if text in codec_names() and (packaged / "config.json").is_file():
        return packaged
    if Path(text).is_dir():
        return Path(text)
    raise _not_found(text)


def codec_class(folder: Path) -> type["Codec"]:
    """Return the class of the codec whose files are in a folder.

    Raises:
        CheckpointError: if there is no readable config.json, or its family is unknown.
    """
    from .config import read_config
    from .errors import CheckpointError

    family = read_config(folder)["family"]
    if family not in FAMILIES:
        raise CheckpointError(
            f"{folder} holds a codec of the unknown family {family!r}: this version knows {', '.join(sorted(FAMILIES))}"
        )
    module, name = FAMILIES[family]
    return getattr(importlib.import_module(module, __package__), name)


def describe(folder: Path, chunk_seconds: float | None = None) -> CodecInfo:
    """Return what a codec's folder says, and its streams wait for by `chunk_seconds`, without reading its weights.

    Raises:
        CheckpointError: if there is no usable config.json.
        ShapeError: if `chunk_seconds` are asked for of a codec whose weights fix what it works on at once.
    """
    import torch

    from .config import config_from_dict, read_config

    kind, about = codec_class(folder), read_config(folder)
    # Only large codecs on the meta device: its first use imports nine hundred modules, longer than random weights take.
    with torch.device("meta") if getattr(kind, "large", False) else contextlib.nullcontext():
        codec = kind(config_from_dict(kind.Config, about["config"]), about["name"])
    aliases = tuple(alias for alias, name in ALIASES.items() if WEIGHTS / name == folder)
    parameters = sum(weight.numel() for weight in codec.parameters())
    return CodecInfo(about["name"], aliases, about["family"], folder, parameters, codec.spec, codec.latencies(chunk_seconds))


def list_codecs() -> list[CodecInfo]:
    """Return the packaged codecs."""
    return [describe(path.parent) for path in sorted(WEIGHTS.glob("*/config.json"))]


def official_names() -> list[str]:
    """Return the names that `from_official` takes."""
    return sorted(_official_tables())


def from_official(name: str, checkpoint: "str | Path | Mapping[str, Any] | nn.Module") -> "Codec":
    """Return a codec with the weights of an official checkpoint.

    Args:
        name: of the official model, as `official_names` lists them; "-" and "_" are the same.
        checkpoint: the file as published, the object loaded from it, a mapping of names to tensors, or the official module.

    Raises:
        CodecNotFoundError: if the name is unknown.
        CheckpointError: if the checkpoint does not fit, with every key that does not.
    """
    from .half_precision import plain_defaults

    tables = _official_tables()
    wanted = name.replace("-", "_").lower()
    for known, build in tables.items():
        if known.replace("-", "_").lower() == wanted:
            with plain_defaults():  # one of several files reads them itself
                return build(getattr(build, "read", _official_weights)(checkpoint)).eval()
    from .errors import CodecNotFoundError

    raise CodecNotFoundError(
        f"no official codec is called {name!r}{_near(name, tables)}: the known ones are {', '.join(sorted(tables))}"
    )


def pick_device(device: str) -> str:
    """Return a device that is there; "auto" is CUDA where there is one, else the CPU.

    Raises:
        TonemeError: if the name is unknown or the device missing.
    """
    import torch

    from .errors import TonemeError

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(device).type
    except (RuntimeError, TypeError):
        raise TonemeError(f"unknown device {device!r}: use auto, cpu, cuda or cuda:N") from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise TonemeError("no CUDA device was found: use the device cpu or auto, or install a CUDA build of torch")
    return device


def _official_weights(checkpoint: Any) -> "dict[str, Tensor]":
    from .checkpoint import read_checkpoint, tensors_of
    from .errors import CheckpointError

    if callable(state_dict := getattr(checkpoint, "state_dict", None)):
        return tensors_of(state_dict())  # pyright: ignore[reportArgumentType]
    if not isinstance(checkpoint, str | Path | Mapping):
        raise CheckpointError(
            f"a checkpoint is a path, a mapping of names to tensors, or a module; got {type(checkpoint).__name__}"
        )
    source = "the checkpoint" if isinstance(checkpoint, Mapping) else str(checkpoint)
    return tensors_of(read_checkpoint(checkpoint), source)


def _official_tables() -> dict[str, Any]:
    modules = [importlib.import_module(module, __package__) for module, _ in FAMILIES.values()]
    return {name: build for module in modules for name, build in getattr(module, "OFFICIAL", {}).items()}


def _not_found(name: str) -> Exception:
    from .errors import CodecNotFoundError

    if name.replace("-", "_").lower() in {known.replace("-", "_").lower() for known in _official_tables()}:
        return CodecNotFoundError(
            f"{name} is no packaged codec, but its official checkpoint can be used: run "
            f"`codec convert CHECKPOINT --as {name} -o FOLDER` and pass that folder (OFFICIAL.md, beside toneme's codecs, says "
            "where checkpoints are)"
        )
    names = codec_names()
    return CodecNotFoundError(
        f"no codec or folder is called {name!r}{_near(name, names)}: the packaged ones are "
        f"{', '.join(names) or 'none'}; a codec's folder or {HUB}org/name works as well"
    )


def _near(name: str, names: Any) -> str:
    close = difflib.get_close_matches(name, list(names), n=3, cutoff=0.5)
    return f" (did you mean {' or '.join(close)}?)" if close else ""
