"""Licences of weights that come over the network: those that forbid commercial use are asked about once, before they do."""

import json
import os
import re
import sys
import warnings
from pathlib import Path

from .errors import CheckpointError
from .files import atomic_path

VARIABLE = "TONEME_ACCEPT_LICENCE"  # a licence's name, several with commas between, or "all"
RESTRICTED = re.compile(r"(^|[-_ ])nc([-_ ]|$)|non-?_?commercial|research-only", re.IGNORECASE)


def agree(name: str, licence: str) -> None:
    """Return if the weights of `name` may be fetched under their licence.

    A licence that forbids commercial use is asked about on a terminal, and the answer is kept in `answers_file`; elsewhere the
    environment variable TONEME_ACCEPT_LICENCE must name it.

    Raises:
        CheckpointError: if the answer was no, or nobody could be asked.
    """
    if not RESTRICTED.search(licence) or _named_in_environment(licence):
        return
    answers = _read_answers()
    kept = answers.get(name, {})
    accepted = kept.get("accepted") is True if kept.get("licence") == licence else None
    if accepted is None and sys.stdin.isatty() and sys.stderr.isatty():
        accepted = _ask(name, licence)
        _keep(answers | {name: {"licence": licence, "accepted": accepted}})
    if not accepted:
        refused = "was not accepted" if accepted is False else "must be accepted first"
        raise CheckpointError(
            f"the weights of {name} have the licence {licence}, which forbids commercial use and {refused}: "
            f"set {VARIABLE}={licence} to accept it"
        )


def licence_of(folder: Path) -> str:
    """Return the licence that a codec's folder states, in config.json or else at the head of its README.md, "" for none."""
    try:
        stated = json.loads((folder / "config.json").read_bytes())["config"]["licence"]
    except (OSError, ValueError, KeyError, TypeError):  # what is wrong with it is said when the codec is loaded
        stated = ""
    if stated:
        return str(stated)
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8-sig", errors="replace") if card.is_file() else ""
    head = re.match(r"---\s*\n(.*?)\n---", text, re.DOTALL)
    found = re.search(r"^license(?:_name)?:\s*[\"']?([\w.+-]+)", head[1], re.MULTILINE) if head else None
    return found[1] if found else ""


def answers_file() -> Path:
    """Return where answers are kept: toneme/licences.json in the user's folder of configurations."""
    base = os.environ.get("APPDATA" if os.name == "nt" else "XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "toneme" / "licences.json"


def _named_in_environment(licence: str) -> bool:
    named = [part.strip().lower() for part in os.environ.get(VARIABLE, "").split(",")]
    return "all" in named or licence.lower() in named


def _ask(name: str, licence: str) -> bool:
    while True:
        sys.stderr.write(f"The weights of {name} have the licence {licence}: no commercial use. Fetch them? [y/n] ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        answer = line.strip().lower()
        if answer in ("y", "yes"):
            return True
        if answer in ("n", "no") or not line:
            return False


def _read_answers() -> dict[str, dict]:
    try:
        answers = json.loads(answers_file().read_text())
    except (OSError, ValueError):  # none yet, or no answers: ask
        return {}
    return {k: v for k, v in answers.items() if isinstance(v, dict)} if isinstance(answers, dict) else {}


def _keep(answers: dict[str, dict]) -> None:
    path = answers_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as partial:
            Path(partial).write_text(json.dumps(answers, indent=2) + "\n")
    except OSError as error:
        warnings.warn(f"{path} cannot be written ({error}), so this will be asked again", stacklevel=2)
