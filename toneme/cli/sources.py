"""Token files of any format, opened so that they can be decoded piece by piece.

Imports numpy: commands import this module when they run.
"""

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from toneme.cli.failures import complain
from toneme.cli.files import STANDARD
from toneme.codecs.errors import TokenFileError
from toneme.codecs.pieces import Piece, piece_of
from toneme.codecs.tokenfile import MAGIC, TokenReader

if TYPE_CHECKING:
    from toneme.codecs.base import Codec
    from toneme.codecs.tokens import Tokens


class TokenSource:
    """One item's tokens in pieces.

    Attributes:
        name: how messages call the file.
        codec: name of the codec that made the tokens.
        salvage: stop at the first damage, with a warning, instead of raising.
        compressed: all tokens of a `.dac` file, an item per channel, which are decoded together; None of other files.
    """

    def __init__(
        self, name: str, content: TokenReader | Piece, salvage: bool = False, compressed: "Tokens | None" = None
    ) -> None:
        self.name, self.content, self.salvage, self.compressed = name, content, salvage, compressed
        self._told: int | None = None
        self._seen = 0

    @property
    def codec(self) -> str:
        return self.content.header.codec

    def length(self) -> int | None:
        """Return the samples of the whole, None while they are not known."""
        if isinstance(self.content, Piece):
            return self.content.n_samples
        return self._told if self.salvage else self.content.header.n_samples

    def __iter__(self) -> Iterator[Piece]:
        """Yield the pieces.

        Raises:
            TokenFileError: if the file is damaged, unless this is a salvage.
        """
        if isinstance(self.content, Piece):
            yield self.content
            return
        with named(self.name):
            for piece in self.content.pieces():
                self._seen += piece.n_samples
                yield piece
        whole = self.content.header.n_samples
        self._told = self._seen if self.content.damage or whole is None else whole
        if self.content.damage:
            complain(f"warning: {self.name}: {self.content.damage}")


@contextmanager
def open_tokens(
    source: Path, codec: "Callable[[], Codec | None]" = lambda: None, salvage: bool = False, any_weights: bool = False
) -> Iterator[TokenSource]:
    """Open a token file of any format, or stdin.

    Args:
        source: a path or `STANDARD`.
        codec: gives what the user named, which is taken for the maker of the tokens where the format names none (`.dac`).
        salvage: take what comes before the first damage.
        any_weights: take it for that too where the format names the codec, and not its weights (`.ecdc`).

    Raises:
        TokenFileError: if it is missing, of no known format, or damaged from the start.
    """
    name = "standard input" if source == STANDARD else str(source)
    if source != STANDARD and source.is_dir():
        raise TokenFileError(f"{source} is a folder: name a token file in it")
    file = cast(BinaryIO, sys.stdin.buffer) if source == STANDARD else _open(source)
    with file:
        head = file.read(len(MAGIC))
        if not head:
            raise TokenFileError(f"{name} is empty (0 bytes): encode or fetch it again")
        if not head.startswith(MAGIC):
            yield _other_format(name, head + file.read(), codec, any_weights)
            return
        if file.seekable():
            file.seek(0)
            head = b""
        with named(name):
            reader = TokenReader(file, salvage, head)
        yield TokenSource(name, reader, salvage)


def _other_format(name: str, data: bytes, codec: "Callable[[], Codec | None]", any_weights: bool) -> TokenSource:
    """Read what is no `.tok` file, which needs torch."""
    from toneme.codecs.formats import read_tokens

    is_dac = data.startswith(b"\x93NUMPY")
    with named(name):
        tokens = read_tokens(io.BytesIO(data), codec() if is_dac or any_weights else None)
        if is_dac:
            return TokenSource(name, piece_of(tokens[0]), compressed=tokens)
        if tokens.batch != 1:
            raise TokenFileError(f"{name} holds {tokens.batch} items: save each by tokens[i].save(path) first")
        return TokenSource(name, piece_of(tokens))


@contextmanager
def named(name: str) -> Iterator[None]:
    """Put the file's name before the message of a TokenFileError."""
    try:
        yield
    except TokenFileError as error:
        text = str(error)
        raise TokenFileError(text if name in text else f"{name}: {text}") from None


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise TokenFileError(f"{path} cannot be read ({error.strerror}): check the name and the permissions") from None
