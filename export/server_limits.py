"""What a server takes and what it refuses, and in which words."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..kernels.errors import TonemeError
from .manifest import Side

# close codes of WebSockets, RFC 6455 section 7.4 and IANA's registry
NOT_UNDERSTOOD, REFUSED, TOO_BIG, RESTARTS, TRY_LATER = 1007, 1008, 1009, 1012, 1013
ENDING = "the server is being ended: try again later"
LEAST_CHUNK = 0.1  # seconds; of shorter ones nearly all of the work goes into what lies around them
MESSAGE_BYTES = 1 << 20  # of a message of a stream: half a minute of audio at 16 bits


class RefusedError(TonemeError):
    """A request that is not served.

    Args:
        sentence: why, and what to do.
        status: of HTTP.
        close: of a WebSocket.
    """

    def __init__(self, sentence: str, status: int, close: int = REFUSED) -> None:
        super().__init__(sentence)
        self.status, self.close = status, close


@dataclass(frozen=True)
class Limits:
    """Bounds of one client's share.

    Attributes:
        seconds: of audio in one request or stream.
        connections: requests and streams that are served at the same time.
        bytes: of a request's body.
        idle: seconds without a byte from the client, or without its taking one, after which it counts as gone.
        chunk: seconds that a codec in chunks works on at once in a stream, its own where None; streams may ask for fewer.
    """

    seconds: float = 600.0
    connections: int = 64
    bytes: int = 32 << 20
    idle: float = 30.0
    chunk: float | None = None

    def check_seconds(self, seconds: float) -> None:
        """Raise RefusedError where so much audio is more than one request or stream may hold."""
        if seconds > self.seconds:
            raise RefusedError(f"audio of at most {self.seconds:g} s is taken at once: send it in shorter parts", 413, TOO_BIG)

    def check_bytes(self, size: int) -> None:
        """Raise RefusedError where a body of so many bytes is too large."""
        if size > self.bytes:
            raise RefusedError(f"at most {self.bytes} bytes are taken at once: send less, or stream it", 413, TOO_BIG)

    def chunks(self, side: Side, sample_rate: int) -> tuple[int, int]:
        """Return the fewest and the most units of a chunk that a stream may ask for, 0 of mode "steps".

        More would take memory that nobody reckoned with.
        """
        most = side.chunk_of(self.chunk, sample_rate)
        return min(side.chunk_of(LEAST_CHUNK, sample_rate), most), most


class Slots:
    """Counts those who are served."""

    def __init__(self, most: int) -> None:
        self.most, self.used = most, 0

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold one place while the block runs.

        Raises:
            RefusedError: if all are taken.
        """
        if self.used >= self.most:
            raise RefusedError(f"all {self.most} places are taken: try again in a few seconds", 503, TRY_LATER)
        self.used += 1
        try:
            yield
        finally:
            self.used -= 1
