"""Tables of recipes as files and settings give them: YAML, merged onto the recipe that they change."""

import difflib
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..codecs.errors import MissingDependencyError, how_to_install
from .errors import RecipeError

SHIPPED = Path(__file__).parent


def recipe_names() -> list[str]:
    """Return the shipped recipes."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def find_recipe(name: str | Path) -> Path:
    """Return the file of a recipe.

    Raises:
        RecipeError: if there is none of that name.
    """
    for path in (Path(name), SHIPPED / f"{name}.yaml", SHIPPED / Path(name).name):
        if path.is_file() and path.suffix in (".yaml", ".yml"):
            return path
    close = difflib.get_close_matches(Path(name).stem, recipe_names(), n=2)
    hint = f" (did you mean {' or '.join(close)}?)" if close else ""
    raise RecipeError(f"no recipe is called {name}{hint}: give a .yaml file or one of {', '.join(recipe_names())}")


def read_table(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return a recipe file's table, merged onto its base's.

    Raises:
        RecipeError: if a file is not a table of YAML, or is its own base.
    """
    yaml = _yaml()
    try:
        table = load_yaml(path.read_text(encoding="utf-8-sig")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not YAML ({' '.join(str(error).split())[:200]}): repair that line") from None
    if not isinstance(table, dict):
        raise RecipeError(f"{path} is not a recipe: expected a table of keys and values")
    if path in seen:
        raise RecipeError(f"{path} is its own base: remove the circle {' -> '.join(p.stem for p in (*seen, path))}")
    base = table.pop("base", None)
    if base is None:
        return table
    beside = path.parent / f"{base}.yaml"
    return merge(read_table(beside if beside.is_file() else find_recipe(base), (*seen, path)), table)


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the entries of `change`, table by table."""
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def setting_table(setting: str) -> dict[str, Any]:
    """Return `a.b=1` as {"a": {"b": 1}}.

    Raises:
        RecipeError: if it is not of that form.
    """
    key, found, text = setting.partition("=")
    if not found or not all(key.split(".")):
        raise RecipeError(f"{setting!r} is no setting: write key=value, as in data.train=FOLDER")
    try:
        value: Any = load_yaml(text)
    except _yaml().YAMLError:
        value = text
    if isinstance(value, str) and value and text.strip().startswith(value):
        value = text.strip()  # what follows " #" in a folder's name is no comment
    if isinstance(value, str) and is_number(value):
        value = float(value)
    *parents, last = key.split(".")
    tree = {last: value}
    for part in reversed(parents):
        tree = {part: tree}
    return tree


def changes(before: Mapping[str, Any], now: Mapping[str, Any], at: str = "") -> list[str]:
    """Return where two recipes' tables differ, as "steps 10 (was 5)"."""
    found = []
    for key in dict.fromkeys([*before, *now]):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += changes(old, new, f"{at}{key}.")
        elif old != new:
            found.append(f"{at}{key} {new} (was {old})")
    return found


def is_number(text: str) -> bool:
    """Return whether text stands for a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def to_text(table: Mapping[str, Any]) -> str:
    """Return a table as YAML."""
    return _yaml().safe_dump(table, sort_keys=False, allow_unicode=True)


def load_yaml(text: str) -> Any:
    """Return what YAML says; 1e-4 is a number, for which YAML 1.1 wants a dot in it."""
    return _yaml().load(text, Loader=_loader())


@lru_cache
def _loader() -> Any:
    loader: Any = type("RecipeLoader", (_yaml().SafeLoader,), {})
    number = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$")
    loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+0123456789"))
    return loader


def _yaml() -> Any:
    try:
        import yaml
    except ImportError as error:
        raise MissingDependencyError(f"PyYAML is not installed, and recipes are YAML: {how_to_install('train')}") from error
    return yaml
