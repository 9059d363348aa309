"""Files of tokens: the format is chosen by suffix when writing and known by its content when reading."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from .errors import ShapeError, TokenFileError
from .tokenfile import MAGIC, read_tok, write_tok
from .tokens import Tokens

if TYPE_CHECKING:
    from .base import Codec

SUFFIXES = (".tok", ".npz", ".npy", ".safetensors", ".ecdc")
_HEAD = 16


def save_tokens(tokens: Tokens, path: str | Path, **options: Any) -> None:
    """Write tokens as `.tok`, `.npz`, `.npy`, `.safetensors` or `.ecdc`, by the path's suffix.

    Args:
        tokens: one item for `.tok`, `.npy` and `.ecdc`; any number for the others.
        path: where to write; an interrupted write leaves no file behind.
        options: for `.tok`, those of `TokenWriter`; the others take none.

    Raises:
        ShapeError: if the format cannot hold these tokens.
        TokenFileError: if the suffix is unknown or the file cannot be written.
    """
    from . import arrayfile, ecdc

    suffix = Path(path).suffix.lower()
    writers = {
        ".tok": write_tok, ".npz": arrayfile.write_npz, ".npy": arrayfile.write_npy,
        ".safetensors": arrayfile.write_safetensors, ".ecdc": ecdc.write_ecdc,
    }  # fmt: skip
    if suffix not in writers:
        raise TokenFileError(f"tokens are saved as {', '.join(SUFFIXES)}, by the file's suffix; got {str(path)!r}")
    if tokens.batch != 1 and suffix in (".tok", ".npy", ".ecdc"):
        raise ShapeError(f"a {suffix} file holds one item and these tokens {tokens.batch}: save each by tokens[i].save(path)")
    if options and suffix != ".tok":
        raise ShapeError(f"a {suffix} file takes no options; got {', '.join(options)}")
    writers[suffix](tokens, path, **options)


def read_tokens(source: str | Path | BinaryIO, codec: "Codec | str | None" = None, salvage: bool = False) -> Tokens:
    """Read tokens from a `.tok`, `.ecdc`, `.dac`, `.npz` or `.safetensors` file, known by its content.

    Args:
        source: a path, "-" for standard input, or a binary file object.
        codec: for `.ecdc` and `.dac`, whose files do not say which weights made them: the codec, or its name.
        salvage: of a damaged `.tok`, return what comes before the damage.

    Raises:
        TokenFileError: if the file cannot be read, is of no known format, damaged or hostile.
    """
    if isinstance(source, str | Path) and str(source) != "-":
        try:
            with open(source, "rb") as file:
                return _read(file, codec, salvage)
        except TokenFileError as error:
            raise TokenFileError(f"{source}: {error}") from None
        except OSError as error:
            reason = error.strerror or error
            raise TokenFileError(f"{source} cannot be read ({reason}): check the name and the permissions") from None
    return _read(sys.stdin.buffer if isinstance(source, str | Path) else source, codec, salvage)


def _read(file: BinaryIO, codec: "Codec | str | None", salvage: bool) -> Tokens:
    from . import arrayfile, ecdc

    head = file.read(_HEAD)
    if head[:4] == MAGIC:
        return read_tok(file, salvage, head)
    if head[:4] == b"ECDC":
        return ecdc.read_ecdc(head + file.read(), codec)
    if head[:6] == b"\x93NUMPY":
        from .dacfile import read_dac  # which knows DAC's models, and so takes a quarter of a second to import

        return read_dac(head + file.read(), codec)
    if head[:4] == b"PK\x03\x04":
        return arrayfile.read_npz(head + file.read())
    if head[4:9] == b"\0\0\0\0{":  # a header of less than 4 GiB, in JSON
        return arrayfile.read_safetensors(head + file.read())
    return read_tok(file, salvage, head)
