"""Exported codecs that are kept in the user's cache by the hash of their weights: what commands use once it is there."""

import errno
import os
from importlib.util import find_spec
from pathlib import Path

from ..codecs.base import Codec
from ..codecs.errors import CheckpointError
from ..codecs.registry import find_folder, load, pick_device
from .codec import ExportedCodec
from .manifest import FILE, FORMAT, is_exported, read_manifest

GRAPHS = 3  # how graphs are written: those that were kept before they called kernels are slower than PyTorch with its own
ALONE = ("encodec",)  # families whose graphs gain little by a second thread, which PyTorch makes more of
DENIED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT)


def exported(name: str | Path, threads: int = 1) -> ExportedCodec:
    """Return a codec that runs in ONNX Runtime: an exported folder itself, or the codec `name` exported once.

    Args:
        name: what `codecs.registry.load` takes, or a folder that `codec export` made.
        threads: that one call may use.

    Raises:
        CheckpointError: if the codec cannot be exported.
        CodecNotFoundError: if nothing answers to the name.
        MissingDependencyError: if onnxruntime is missing, or, the first time, onnx or onnxscript.
    """
    if is_exported(name):
        return ExportedCodec(name, threads)
    codec = load(find_folder(name))
    return made(codec, place(codec), threads)


def made(codec: Codec, folder: Path, threads: int = 1) -> ExportedCodec:
    """Return a codec's graphs in a folder, made there unless there are some.

    Raises:
        CheckpointError: if the codec cannot be exported, the folder cannot be written, or it holds graphs of another.
        MissingDependencyError: if onnxruntime is missing, or, to make them, onnx or onnxscript.
    """
    if not is_exported(folder):
        from .folder import export_codec  # what writes graphs takes longer to import than what runs them

        try:
            export_codec(codec, folder)
        except OSError as error:
            if error.errno not in DENIED:
                raise
            raise CheckpointError(
                f"graphs of {codec.name} cannot be kept in {folder} ({error.strerror}): set XDG_CACHE_HOME to one that can be "
                "written, or make them with `codec export CODEC -o FOLDER` and name that folder as the codec"
            ) from None
    exported = ExportedCodec(folder, threads)
    if exported.weights_hash != codec.weights_hash:
        raise CheckpointError(f"{folder} holds graphs of other weights than those of {codec.name}: name another folder")
    return exported


def fastest(name: str | Path, device: str = "auto", threads: int = 1) -> Codec:
    """Return a codec as it runs fastest here: in ONNX Runtime on a CPU where it is installed and graphs are at hand.

    With more than one thread PyTorch is faster for EnCodec, and codecs that work in chunks gain a tenth or two: then only an
    exported folder itself is run by its graphs.

    Args:
        name: what `codecs.registry.load` takes, or a folder that `codec export` made.
        device: as `codecs.registry.load` takes it.
        threads: that one call may use.

    Raises:
        CheckpointError: if what is at hand is damaged.
        CodecNotFoundError: if nothing answers to the name.
        MissingDependencyError: if it is an exported folder and onnxruntime is missing.
    """
    if is_exported(name):
        return ExportedCodec(name, threads)
    codec = load(name, device)
    gains = threads == 1 or codec.family not in ALONE
    folder = kept(codec) if gains and pick_device(device) == "cpu" and find_spec("onnxruntime") else None
    if folder is None:
        return codec
    about = read_manifest(folder)
    return ExportedCodec(folder, threads) if about.encoder and about.in_steps else codec


def kept(codec: Codec) -> Path | None:
    """Return the folder of a codec's graphs, None where there are none that this user may read."""
    try:
        folder = place(codec)
    except CheckpointError:  # no home, as in many containers
        return None
    return folder if os.access(folder / FILE, os.R_OK) else None


def place(codec: Codec) -> Path:
    """Return where a codec's graphs are kept.

    Raises:
        CheckpointError: if this user has no place to keep any.
    """
    return cache() / f"{codec.name}-{codec.weights_hash}-{FORMAT}.{GRAPHS}"


def cache() -> Path:
    """Return the folder of exported codecs: `toneme/onnx` in XDG_CACHE_HOME or ~/.cache.

    Raises:
        CheckpointError: if there is neither.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "toneme" / "onnx"
    except RuntimeError:
        raise CheckpointError("this user has no home to keep graphs in: set XDG_CACHE_HOME, or name a folder with -o") from None
