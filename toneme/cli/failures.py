"""From an exception to one sentence with a remedy, and from a signal to a clean end."""

import errno
import os
import signal
import sys
import traceback
from io import TextIOWrapper
from types import FrameType

REMEDIES = {
    errno.ENOSPC: "no space is left on the device; free some, or write elsewhere with -o",
    errno.EDQUOT: "your disk quota is used up; free some space, or write elsewhere with -o",
    errno.EACCES: "permission denied; check who owns it, or name another place",
    errno.EPERM: "permission denied; check who owns it, or name another place",
    errno.EROFS: "the file system is read-only; write elsewhere with -o",
    errno.ENOENT: "no such file or folder; check the name",
    errno.EEXIST: "this is a file where a folder is needed; name another place",
    errno.ENOTDIR: "a part of this path is a file and not a folder; name another place",
    errno.EISDIR: "this is a folder; name a file",
    errno.ENAMETOOLONG: "the name is too long; name another place with -o",
    errno.EMFILE: "too many files are open; raise the limit with `ulimit -n`",
    errno.EIO: "the device reports an error; check the disk",
    errno.EBADF: "standard input or output is closed; name a file, or leave it open",
}

ENDING = {getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)}


def explain(error: BaseException) -> str:
    """Return one sentence about what went wrong and what to do."""
    from toneme.codecs.errors import TonemeError

    if isinstance(error, TonemeError):
        return one_line(error)
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return "out of memory: use --device cpu, or close other programs"
    if isinstance(error, ModuleNotFoundError) and error.name == "torch":
        return "this needs PyTorch: pip install torch, or name a folder that `codec export` made with --codec"
    if isinstance(error, OSError) and error.errno:
        return _explain_os(error)
    return (
        f"unexpected {type(error).__name__} ({one_line(error)[:200]}): this is a bug; "
        "set TONEME_DEBUG=1 to see where, and report it"
    )


def _explain_os(error: OSError) -> str:
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes | os.PathLike)]
    if not names and "temporary directory" in (error.strerror or ""):  # tempfile's own, as PyTorch asks for one where it begins
        return "no folder for temporary files can be written to, which PyTorch needs: name one that can with TMPDIR"
    reason = REMEDIES.get(error.errno or 0, f"{error.strerror or error}; check the path and the device")
    return f"{names[-1]}: {reason}" if names else reason


def one_line(error: BaseException) -> str:
    """Return an exception's message without its line breaks."""
    return " ".join(str(error).split())


def complain(message: str) -> None:
    """Write one line to stderr."""
    print(f"codec: {message}", file=sys.stderr, flush=True)


def debugging() -> bool:
    """Return whether the user asked for tracebacks."""
    return os.environ.get("TONEME_DEBUG", "") not in ("", "0")


def report(error: BaseException) -> None:
    """Write what went wrong to stderr; the traceback too where the user asked for it."""
    if debugging():
        traceback.print_exception(error)
    complain(explain(error))


def open_streams() -> None:
    """Make the standard streams fit to be used, whatever the process was started with.

    A closed one (`>&-`) is opened so that no file that is made later takes its number and gets what is meant for it: reading
    from or writing to it then fails, and what is said on stderr is dropped. Where the encoding of the terminal, or of a file
    on Windows, lacks a letter of a file's name, the letter is written as a number.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            _occupy(number, os.O_WRONLY if number != 1 else os.O_RDONLY)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 # as long as the process
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _occupy(number: int, access: int) -> None:
    nothing = os.open(os.devnull, access)
    if nothing != number:
        os.dup2(nothing, number)
        os.close(nothing)
    os.set_inheritable(number, True)  # as standard streams are, to programs that are started


def end_on_signals() -> None:
    """Turn SIGTERM and SIGHUP into an exit that unwinds, so that unfinished files are removed."""
    for number in ENDING - {signal.SIGINT}:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _unwind)


def import_numpy() -> None:
    """Import numpy before PyTorch does, and let signals wait until it is there.

    PyTorch imports it from C and drops whatever is raised meanwhile: Ctrl-C was lost then, or taken for a numpy that is broken.
    """
    masks = hasattr(signal, "pthread_sigmask")  # Windows has none
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING) if masks else set()
    try:
        import numpy  # noqa: F401
    finally:
        if masks:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _unwind(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def drop_unwritten() -> None:
    """Forget what stdout cannot take, so that the interpreter does not try once more at its end, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        close_pipe()


def close_pipe() -> None:
    """Point stdout at nothing after its reader went away, so that the interpreter's last flush is silent."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # stdout is no real file (under a test runner), so nothing flushes it at exit
        return
