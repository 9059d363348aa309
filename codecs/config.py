"""A codec's configuration: as frozen dataclasses in the program, as plain JSON in its folder."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from .errors import CheckpointError

WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def set_fields(config: Any) -> dict:
    """Return the fields of a configuration, and of those inside it, that shape the codec and differ from their defaults."""
    values = {}
    for entry in dataclasses.fields(config):
        value, default = getattr(config, entry.name), entry.default
        if entry.default_factory is not dataclasses.MISSING:
            default = entry.default_factory()
        if entry.name != "licence" and value != default:
            values[entry.name] = set_fields(value) if dataclasses.is_dataclass(value) else value
    return values


def read_config(folder: str | Path) -> dict:
    """Return the content of a folder's `config.json`.

    Raises:
        CheckpointError: if it is missing or not a codec's.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        if (path.parent / "codec.json").is_file():
            raise CheckpointError(f"{folder} is an exported codec, whose graphs alone are there: name the codec it was made of")
        raise CheckpointError(f"{folder} holds no config.json: a codec folder has config.json and model.safetensors")
    try:
        about = json.loads(path.read_bytes())
        return {"family": str(about["family"]), "name": str(about["name"]), "config": dict(about["config"])}
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} is not a codec's configuration ({error!r}): expected keys family, name and config"
        ) from None


def config_from_dict(config_type: type, values: Mapping[str, Any]) -> Any:
    """Build a frozen config from JSON types; lists become tuples, and tables the configs that its fields are annotated with.

    Raises:
        CheckpointError: if a key is unknown, one without default is missing, or a value is of another type.
    """
    known = {f.name for f in dataclasses.fields(config_type)}
    if unknown := set(values) - known:
        raise CheckpointError(f"unknown settings {sorted(unknown)} for {config_type.__name__}: it knows {sorted(known)}")
    kinds = get_type_hints(config_type)
    try:
        return config_type(**{key: _field(f"{key} of {config_type.__name__}", kinds[key], values[key]) for key in values})
    except TypeError as error:
        raise CheckpointError(f"{config_type.__name__} cannot be built: {error}") from None


def _field(name: str, kind: Any, value: Any) -> Any:
    inside = next((one for one in (kind, *get_args(kind)) if dataclasses.is_dataclass(one)), None)
    if isinstance(inside, type) and isinstance(value, Mapping):
        return config_from_dict(inside, value)
    if not _fits(kind, value := _tuples(value)):
        raise CheckpointError(f"{name} must be {WORDS.get(kind, 'a table' if inside else kind)}; got {value!r}")
    return value


def _fits(kind: Any, value: Any) -> bool:
    inside = get_args(kind)
    if isinstance(kind, UnionType):
        return any(_fits(one, value) for one in inside)
    if get_origin(kind) is tuple:
        many = isinstance(value, tuple) and inside[-1] is Ellipsis
        kinds = inside[:1] * len(value) if many else inside
        return isinstance(value, tuple) and len(value) == len(kinds) and all(map(_fits, kinds, value))
    if kind in (int, float):
        return isinstance(value, int | kind) and not isinstance(value, bool)
    return kind is Any or isinstance(value, kind)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
