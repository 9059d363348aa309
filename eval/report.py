"""The report: one HTML file that asks nothing of the network."""

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any

from .suite import Section, Table

NUMBER = re.compile(r"^[-+]?[\d,.]+(e[-+]?\d+)?( \[.*\])?( \(\d+ failed\))?$")
INTERVAL = re.compile(r"^(?P<mean>\S+) (?P<rest>\[.*)$")
STYLE = """
:root { color-scheme: light dark; --line: #8883; --soft: #8882; --dim: #777 }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1280px; margin: 0 auto; padding: 1.5rem }
h1 { font-size: 1.6rem; margin: 0 }
h2 { margin: 2.4rem 0 .3rem; font-size: 1.25rem }
h3 { margin: 1.4rem 0 .4rem; font-size: 1rem }
p { margin: .3rem 0; max-width: 90ch }
small, .w { color: var(--dim); fill: var(--dim); font-weight: normal }
code { background: var(--soft); padding: .1em .35em; border-radius: 4px; overflow-wrap: anywhere }
nav a { margin-right: 1rem; white-space: nowrap }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .8rem 0 }
dt { color: var(--dim) }
dd { margin: 0 }
.scroll { overflow-x: auto; margin: .8rem 0 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .87rem }
th, td { padding: .3rem .6rem; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top }
th { border-bottom: 2px solid var(--line); font-weight: 600; max-width: 8rem; vertical-align: bottom }
td.n, th.n { text-align: right }
td.n, td:first-child { white-space: nowrap }
td:first-child { font-weight: 600 }
td small { display: block; font-size: .78em }
tr:hover { background: var(--soft) }
.legend span { margin-right: 1.2rem }
.legend i { display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin-right: .4em }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(290px, 1fr)); gap: .6rem 1rem; margin: .6rem 0 }
svg { width: 100%; font: 11px system-ui, sans-serif; fill: currentColor }
svg .g { stroke: var(--line) }
svg .t { font-weight: 600; font-size: 12px }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(280px, 1fr)); gap: .8rem }
figure { margin: 0 }
figcaption { font-size: .87rem; font-weight: 600 }
img { width: 100%; height: 120px; border-radius: 4px; display: block }
audio { width: 100%; height: 34px; margin-top: 2px }
"""


def report_html(title: str, about: Mapping[str, Any], sections: Sequence[Section]) -> str:
    """Return the page.

    Args:
        title: of the page.
        about: names and texts on how it was made.
        sections: in order.
    """
    facts = "".join(f"<dt>{html.escape(name)}</dt><dd>{_value(value)}</dd>" for name, value in about.items())
    links = "".join(f"<a href='#s{i}'>{html.escape(section.title)}</a>" for i, section in enumerate(sections))
    parts = "".join(_section(i, section) for i, section in enumerate(sections))
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        "media-src data:\"><link rel=icon href='data:,'>"
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body><h1>{html.escape(title)}</h1>"
        f"<dl>{facts}</dl><nav>{links}</nav>{parts}</body></html>\n"
    )


def _value(value: Any) -> str:
    text = html.escape(str(value))
    return f"<code>{text}</code>" if text.startswith("codec ") else text


def _section(number: int, section: Section) -> str:
    tables = "".join(_table(table) for table in section.tables)
    text = "".join(map(_block, section.text.split("\n\n"))) if section.text else ""
    return f"<section id=s{number}><h2>{html.escape(section.title)}</h2>{text}{tables}{section.html}</section>"


def _block(text: str) -> str:
    """Return a paragraph, or a list where its lines are points."""
    lines = html.escape(text).splitlines()
    if not all(line.startswith("- ") for line in lines):
        return f"<p>{' '.join(lines)}</p>"
    return f"<ul>{''.join(f'<li>{line[2:]}</li>' for line in lines)}</ul>"


def _table(table: Table) -> str:
    numeric = [any(NUMBER.match(line[i]) for line in table.lines if i < len(line)) for i in range(len(table.head))]
    heads = [f"<th{' class=n' * number}>{html.escape(cell)}</th>" for cell, number in zip(table.head, numeric, strict=True)]
    lines = ["".join(_cell(cell, number) for cell, number in zip(line, numeric, strict=False)) for line in table.lines]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<div class=scroll><table><thead><tr>{''.join(heads)}</tr></thead><tbody>{body}</tbody></table></div>"


def _cell(cell: str, numeric: bool) -> str:
    """Return a cell; of a column of numbers, words (why there is none) stay at the left and in several lines."""
    numeric = numeric and bool(NUMBER.match(cell) or cell in ("-", ""))
    found = INTERVAL.match(cell) if numeric else None
    text = f"{html.escape(found['mean'])}<small>{html.escape(found['rest'])}</small>" if found else html.escape(cell)
    return f"<td{' class=n' * numeric}>{text}</td>"
