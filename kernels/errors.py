"""The errors that Toneme raises: every one is a `TonemeError` whose message is one sentence with a remedy.

TonemeError
  ShapeError (also ValueError)   an array's shape, type or range is not what the call takes
  AudioError                     audio that cannot be read, written or coded
  TokenFileError                 a token file that is damaged, foreign or hostile
  CheckpointError                weights or a configuration that cannot be used
  CodecNotFoundError             a codec name that nothing answers to
  MissingDependencyError         an optional package or program that is not installed
"""


class TonemeError(Exception):
    """The root of every error that Toneme raises."""


class ShapeError(TonemeError, ValueError):
    """An array's shape, type or range is not what the call takes."""


class AudioError(TonemeError):
    """Audio cannot be read, written or coded."""


class TokenFileError(TonemeError):
    """A token file is damaged, foreign or hostile; the message names the byte offset."""


class CheckpointError(TonemeError):
    """Weights or a configuration cannot be used."""


class CodecNotFoundError(TonemeError):
    """No codec answers to this name."""


class MissingDependencyError(TonemeError):
    """An optional package or program is not installed."""


def how_to_install(extra: str) -> str:
    """Return the remedy where a package of an extra is missing: no index has toneme, so that its own name finds nothing."""
    return f'pip install ".[{extra}]" in the folder of toneme\'s sources'
