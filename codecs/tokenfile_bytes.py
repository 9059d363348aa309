"""The bytes under a token file: numbers of variable length, and a source that knows where it stands."""

import io
import struct
from typing import BinaryIO

from crc32c import crc32c

from .errors import TokenFileError

MAX_VARINT = 9  # bytes: numbers below 2^63
_BLOCK = 1 << 16


def varint(number: int) -> bytes:
    """Return a number from 0 to 2^63 - 1 as LEB128: 7 bits a byte, lowest first, the high bit set on all but the last."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def string(text: str) -> bytes:
    """Return a string as its length in bytes, then UTF-8."""
    data = text.encode()
    return varint(len(data)) + data


def checked(record: bytes) -> bytes:
    """Return a record followed by its CRC32C, little-endian."""
    return record + struct.pack("<I", crc32c(record))


def brief(error: BaseException) -> str:
    """Return what went wrong in a library, short and on one line, for use within a message."""
    return " ".join(f"{type(error).__name__} {str(error)[:100]}".split())


class Fields:
    """Reads the fields of one record's content, whose bytes are all present.

    Args:
        data: the content.
        offset: where it begins in the file, for messages.
        what: what it is, for messages.
    """

    def __init__(self, data: bytes, offset: int, what: str) -> None:
        self._data, self._offset, self._what, self._at = data, offset, what, 0

    def fail(self, problem: str) -> TokenFileError:
        """Return the error that names the place reached."""
        return TokenFileError(f"the {self._what} is not valid: {problem}, at byte {self._offset + self._at}")

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        if count > self.left:
            raise self.fail(f"{count} bytes are claimed and {self.left} are there")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, most: int = (1 << 63) - 1, least: int = 0, name: str = "a number") -> int:
        """Return the next number, checked to lie within `least` and `most`."""
        value = 0
        for i in range(MAX_VARINT):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << 7 * i
            if byte < 0x80:
                if not least <= value <= most:
                    raise self.fail(f"{name} must be from {least} to {most}, got {value}")
                return value
        raise self.fail(f"{name} takes more than {MAX_VARINT} bytes")

    def string(self, most: int, name: str) -> str:
        """Return the next string, of at most `most` bytes."""
        try:
            return self.take(self.number(most, name=f"the length of {name}")).decode()
        except UnicodeDecodeError:
            raise self.fail(f"{name} is not UTF-8") from None

    def float64(self) -> float:
        """Return the next 8 bytes as a float."""
        return struct.unpack("<d", self.take(8))[0]

    def end(self) -> None:
        """Check that nothing is left."""
        if self.left:
            raise self.fail(f"{self.left} bytes are left over")


class Source:
    """A binary file object, read forward, that knows the byte it stands at and the CRC32C of the record being read.

    Nothing is reserved ahead of what the file really holds: long reads go block by block.
    """

    def __init__(self, file: BinaryIO, position: int = 0, head: bytes = b"") -> None:
        self.file, self.position, self.head = file, position, head
        self.crc = 0
        self.start = position

    def begin(self) -> None:
        """Start a record here."""
        self.start, self.crc = self.position, 0

    def read(self, count: int, what: str) -> bytes:
        """Return exactly `count` bytes.

        Raises:
            TokenFileError: if the file ends before.
        """
        data = self.read_some(count)
        if len(data) < count:
            raise TokenFileError(
                f"the file ends at byte {self.position}, within the {what} that begins at byte {self.start}: it was cut "
                "short; read what is whole with salvage"
            )
        return data

    def read_some(self, count: int) -> bytes:
        """Return up to `count` bytes; fewer only where the file ends."""
        blocks = []
        while count > 0:
            block = self._block(min(count, _BLOCK))
            if not block:
                break
            blocks.append(block)
            count -= len(block)
        data = b"".join(blocks)
        self.position += len(data)
        self.crc = crc32c(data, self.crc)
        return data

    def _block(self, count: int) -> bytes:
        if self.head:
            block, self.head = self.head[:count], self.head[count:]
            return block
        return self.file.read(count)

    def number(self, most: int, what: str, name: str) -> int:
        """Return the next number of variable length, at most `most`."""
        value = 0
        for i in range(MAX_VARINT):
            byte = self.read(1, what)[0]
            value |= (byte & 0x7F) << 7 * i
            if byte < 0x80:
                break
        if byte >= 0x80 or value > most:
            raise TokenFileError(
                f"the {what} at byte {self.start} is not valid: {name} must be at most {most}, got {value} or more"
            )
        return value

    def check_crc(self, what: str) -> None:
        """Read the CRC32C that ends a record and compare.

        Raises:
            TokenFileError: if it is another.
        """
        computed = self.crc
        stored = struct.unpack("<I", self.read(4, what))[0]
        if stored != computed:
            raise TokenFileError(
                f"the {what} at byte {self.start} is damaged: its CRC32C is {computed:08x}, and {stored:08x} is stored; read "
                "what comes before it with salvage"
            )

    def jump(self, position: int) -> None:
        """Go to an absolute byte of a seekable file."""
        self.file.seek(position)
        self.position, self.head = position, b""
        self.begin()


def is_seekable(file: BinaryIO) -> bool:
    """Whether a file object can be read from any byte."""
    try:
        return file.seekable() and file.seek(0, io.SEEK_CUR) >= 0
    except (OSError, AttributeError):
        return False
