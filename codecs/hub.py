"""Codecs on the Hugging Face hub: "hf://org/name", with "@revision" where one is wanted, kept in the hub's own cache."""

from pathlib import Path

import huggingface_hub
from huggingface_hub import errors as hub_errors

from .errors import CodecNotFoundError
from .licences import agree, licence_of

ABOUT = ["config.json", "README.md"]  # what states the licence
FILES = ["config.json", "model.safetensors"]


def fetch(name: str) -> Path:
    """Return the local folder of a codec on the hub, downloaded if the cache does not have it.

    Args:
        name: "hf://org/name" or "hf://org/name@revision".

    Raises:
        CodecNotFoundError: if the name is malformed, or the repository or revision cannot be had.
        CheckpointError: if the licence of the weights forbids commercial use and was not accepted.
    """
    repository, revision = parse(name)
    agree(repository, licence_of(_download(repository, revision, ABOUT)))
    folder = _download(repository, revision, FILES)
    missing = [file for file in FILES if not (folder / file).is_file()]
    if missing:
        raise CodecNotFoundError(
            f"{repository} holds no {' and no '.join(missing)}: it is not a saved codec; "
            "convert its checkpoint with `codec convert` and pass the folder"
        )
    return folder


def _download(repository: str, revision: str | None, files: list[str]) -> Path:
    try:
        return Path(huggingface_hub.snapshot_download(repository, revision=revision, allow_patterns=files))
    except Exception as error:  # the hub's client lets its HTTP library's errors through, and those changed with its versions
        raise CodecNotFoundError(_explain(error, repository, revision)) from error


def parse(name: str) -> tuple[str, str | None]:
    """Split "hf://org/name@revision" into repository and revision.

    Raises:
        CodecNotFoundError: if it has another form.
    """
    repository, _, revision = name.removeprefix("hf://").partition("@")
    if repository.count("/") != 1 or not all(repository.split("/")) or ("@" in name and not revision):
        raise CodecNotFoundError(f"{name!r} names no repository: write hf://org/name or hf://org/name@revision")
    return repository, revision or None


def _explain(error: Exception, repository: str, revision: str | None) -> str:
    if isinstance(error, hub_errors.GatedRepoError):
        return f"{repository} is gated: accept its terms on huggingface.co and log in with `hf auth login`"
    if isinstance(error, hub_errors.RevisionNotFoundError):
        return f"{repository} has no revision {revision!r}: check the branch, tag or commit after the @"
    if isinstance(error, hub_errors.RepositoryNotFoundError):
        return f"huggingface.co has no repository {repository} for you: check the name, or log in with `hf auth login`"
    if isinstance(error, hub_errors.HFValidationError):
        return f"{repository!r} is not a name that the hub allows: write hf://org/name"
    if _is_offline():
        return (
            f"{repository} is not in the cache ({_cache()}) and HF_HUB_OFFLINE is set: unset it to download the codec, "
            "or pass the folder of a copy"
        )
    if _is_unreachable(error):
        return (
            f"{repository} is not in the cache ({_cache()}) and huggingface.co cannot be reached: connect once to fetch it, "
            "copy the cache from another machine, or pass the folder of a copy"
        )
    return f"{repository} cannot be fetched ({type(error).__name__}: {_first_line(error)}): pass the folder of a copy instead"


def _is_offline() -> bool:
    return bool(huggingface_hub.constants.HF_HUB_OFFLINE)


def _cache() -> str:
    return str(huggingface_hub.constants.HF_HUB_CACHE)


def _is_unreachable(error: Exception) -> bool:
    """Return whether the error, or one that led to it, says that there was no connection."""
    if isinstance(error, hub_errors.LocalEntryNotFoundError | ConnectionError | TimeoutError):
        return True
    return "connect" in type(error).__name__.lower() or "timeout" in type(error).__name__.lower()


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]
