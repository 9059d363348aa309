"""Results as files: results.json, results.csv, report.html, and a Markdown table."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..codecs.files import atomic_path
from .report import report_html
from .suite import Findings, Row, Table

TITLE = "codec eval"


def write_results(folder: Path, about: Mapping[str, Any], findings: Mapping[str, Findings]) -> dict[str, Any]:
    """Write the three files and return what results.json holds.

    Args:
        folder: to write into; it is made where it is missing.
        about: how it was made, plain JSON types.
        findings: of each suite by its name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row for found in findings.values() for row in found.rows]
    content = {
        "about": dict(about),
        "rows": [row.to_dict() for row in rows],
        "details": {name: found.details for name, found in findings.items()},
    }
    sections = [section for found in findings.values() for section in found.sections]
    _write(folder / "results.json", json.dumps(content, indent=1, allow_nan=False) + "\n")
    _write(folder / "results.csv", rows_csv(rows))
    _write(folder / "report.html", report_html(TITLE, about, sections))
    return content


def rows_csv(rows: Sequence[Row]) -> str:
    """Return rows as CSV, one line per figure."""
    flat = [row.to_dict() for row in rows]
    file = io.StringIO()
    writer = csv.DictWriter(file, list(dict.fromkeys(key for row in flat for key in row)), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return file.getvalue()


def markdown(findings: Mapping[str, Findings], about: Mapping[str, Any]) -> str:
    """Return the report's text and tables as Markdown."""
    parts = [f"# {TITLE}\n\n" + "\n".join(f"- {name}: {_code(str(value))}" for name, value in about.items())]
    for found in findings.values():
        for section in found.sections:
            tables = [_table(table) for table in section.tables]
            if tables or not section.html:
                parts.append("\n\n".join([f"## {section.title}", *([section.text] if section.text else []), *tables]))
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    lines = [table.head, ["---"] * len(table.head), *table.lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _code(text: str) -> str:
    return f"`{text}`" if text.startswith("codec ") else text


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")  # names of clips may be no text
