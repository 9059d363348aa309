"""Fluent Speech Commands as a task of intents, where a user has the data set.

Lugosch et al., "Speech Model Pre-training for End-to-End Spoken Language Understanding", 2019: 30,043 commands of 97 speakers,
31 intents; who speaks in data/test_data.csv does not in data/train_data.csv.
"""

from pathlib import Path

from ...codecs.errors import TonemeError
from .intents import Intent
from .spoken_commands import write_task
from .tasks import read_rows

SPLITS = {"train": "train_data.csv", "test": "test_data.csv"}  # probes choose nothing by valid_data.csv
COLUMNS = ("path", "speakerId", "transcription", "action", "object", "location")


def label_fluent(root: Path) -> int:
    """Write probes/intent.csv into the data set's folder and return how many recordings it names.

    Raises:
        TonemeError: if the folder is not that of the data set, or has such a file already.
    """
    file = root / "probes" / "intent.csv"
    if file.exists():
        raise TonemeError(f"{file} exists: move it away to have it written anew")
    rows = [row for split, name in SPLITS.items() for row in _rows(root / "data" / name, split)]
    if len({row["label"] for row in rows if row["split"] == "train"}) < 2:
        raise TonemeError(f"{root / 'data'} names too few intents to learn from: unpack the data set again")
    file.parent.mkdir(exist_ok=True)
    write_task(file, rows)
    return len(rows)


def _rows(file: Path, split: str) -> list[dict[str, str]]:
    if not file.is_file():
        raise TonemeError(f"{file} does not exist: name the folder of Fluent Speech Commands, in which data and wavs lie")
    return [
        {
            "path": row["path"], "label": Intent(row["action"], row["object"], row["location"]).label, "split": split,
            "text": row["transcription"], "voice": row["speakerId"],
        }
        for row in read_rows(file, COLUMNS)
    ]  # fmt: skip
