"""Curves of quality over bitrate as inline SVG, one small plot for each metric."""

import html
import math
from collections.abc import Sequence

from .suite import Row
from .summary import Summary

WIDTH, HEIGHT = 330, 230
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 26, 34
COLOURS = (
    "#0b6bcb",
    "#c4320a",
    "#2e7d32",
    "#7b1fa2",
    "#b8860b",
    "#00838f",
    "#ad1457",
    "#5d4037",
)  # told apart without red/green


def curves(rows: Sequence[Row]) -> str:
    """Return plots of all metrics that have values, over measured kbps on a logarithmic axis, one line per codec."""
    names = list(dict.fromkeys(row.facts["codec"] for row in rows))
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    metrics = list(dict.fromkeys(row.metric for row in rows))
    plots = [_plot([row for row in rows if row.metric == metric and row.summary], colours) for metric in metrics]
    legend = "".join(f"<span><i style='background:{colours[name]}'></i>{html.escape(name)}</span>" for name in names)
    drawn = "".join(plot for plot in plots if plot)
    return f"<div class=legend>{legend}</div><div class=plots>{drawn}</div>" if drawn else ""


def _plot(rows: Sequence[Row], colours: dict[str, str]) -> str:
    points = [(row, row.facts["kbps"], row.summary) for row in rows if row.facts.get("kbps") and row.summary]
    if not points:
        return ""
    x_axis = _Axis([kbps for _, kbps, _ in points], LEFT, WIDTH - RIGHT, logarithmic=True)
    values = [value for _, _, s in points for value in (s.mean, s.low, s.high) if value is not None]
    y_axis = _Axis(values, HEIGHT - BOTTOM, TOP, logarithmic=False)
    marks = [_grid(x_axis, y_axis)]
    for name, colour in colours.items():
        mine = [(kbps, s, row.system) for row, kbps, s in points if row.facts["codec"] == name]
        mine.sort(key=lambda point: point[0])
        path = " ".join(f"{x_axis(kbps):.1f},{y_axis(s.mean):.1f}" for kbps, s, _ in mine)
        marks.append(f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'/>")
        marks += [_mark(x_axis(kbps), y_axis, s, colour, f"{label}: {s}") for kbps, s, label in mine]
    row = points[0][0]
    way = {"higher": "higher is better", "lower": "lower is better", "zero": "zero is best"}[row.better]
    title = html.escape(row.label + (f", {row.unit}" if row.unit else ""))
    return (
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='{title} over kbps'>{''.join(marks)}"
        f"<text x='{LEFT}' y='15' class='t'>{title} <tspan class='w'>{way}</tspan></text>"
        f"<text x='{WIDTH - RIGHT}' y='{HEIGHT - 4}' text-anchor='end'>kbps</text></svg>"
    )


def _mark(x: float, y_axis: "_Axis", summary: Summary, colour: str, label: str) -> str:
    low, high = (y_axis(summary.mean if end is None else end) for end in (summary.low, summary.high))
    return (
        f"<g><title>{html.escape(label)}</title>"
        f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{low:.1f}' y2='{high:.1f}' stroke='{colour}'/>"
        f"<circle cx='{x:.1f}' cy='{y_axis(summary.mean):.1f}' r='3.5' fill='{colour}'/></g>"
    )


def _grid(x_axis: "_Axis", y_axis: "_Axis") -> str:
    lines = [
        f"<line class='g' x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{y_axis(v):.1f}' y2='{y_axis(v):.1f}'/>"
        f"<text x='{LEFT - 5}' y='{y_axis(v) + 4:.1f}' text-anchor='end'>{v:g}</text>"
        for v in y_axis.ticks
    ]
    lines += [
        f"<line class='g' x1='{x_axis(v):.1f}' x2='{x_axis(v):.1f}' y1='{TOP}' y2='{HEIGHT - BOTTOM}'/>"
        f"<text x='{x_axis(v):.1f}' y='{HEIGHT - BOTTOM + 14}' text-anchor='middle'>{v:g}</text>"
        for v in x_axis.ticks
    ]
    return "".join(lines)


class _Axis:
    """Values to pixels; a twentieth of room at either end."""

    def __init__(self, values: Sequence[float], start: float, stop: float, logarithmic: bool) -> None:
        self._scale = math.log10 if logarithmic else float
        low, high = self._scale(min(values)), self._scale(max(values))
        room = (high - low) / 20 or 0.05 * abs(high) or 0.1
        self._low, self._high, self._start, self._stop = low - room, high + room, start, stop
        self.ticks = self._decades() if logarithmic else self._round_steps()

    def __call__(self, value: float) -> float:
        share = (self._scale(value) - self._low) / (self._high - self._low)
        return self._start + share * (self._stop - self._start)

    def _round_steps(self) -> list[float]:
        rough = (self._high - self._low) / 4
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(unit * k for k in (1, 2, 5, 10) if unit * k >= rough)
        first, last = math.ceil(self._low / step), math.floor(self._high / step)
        return [round(i * step, 10) for i in range(first, last + 1)]

    def _decades(self) -> list[float]:
        candidates = [k * 10.0**e for e in range(-2, 4) for k in (1, 2, 5)]
        return [c for c in candidates if self._low <= math.log10(c) <= self._high]
