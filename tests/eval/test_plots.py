"""Curves: well-formed SVG with a mark for every value, in order of rates."""

from xml.etree import ElementTree

from toneme.eval.plots import curves
from toneme.eval.suite import Row
from toneme.eval.summary import Summary


def row(codec: str, kbps: float | None, mean: float, metric: str = "a<b") -> Row:
    summary = Summary(mean, mean - 0.1, mean + 0.1, mean, 3, 0)
    return Row("s", f"{codec} {kbps}", "speech", metric, metric, "dB", "lower", "1", summary, {"codec": codec, "kbps": kbps})


def test_every_value_is_a_mark_and_every_codec_a_line():
    html = curves([row("one", 4.0, 1.0), row("one", 1.0, 3.0), row("two", 6.0, 2.0), row("one", 4.0, 7.0, "c")])
    page = ElementTree.fromstring(f"<x>{html.replace('class=legend', '').replace('class=plots', '')}</x>")
    first, second = page.iter("svg")
    assert len(list(first.iter("circle"))) == 3
    assert len(list(second.iter("circle"))) == 1
    line = next(first.iter("polyline")).get("points").split()
    x, y = ([float(point.split(",")[i]) for point in line] for i in (0, 1))
    assert x[0] < x[1]
    assert y[0] < y[1]  # 3.0 lies above 1.0
    assert "a<b, dB" in "".join(first.itertext())


def test_without_rates_there_is_no_plot():
    assert curves([row("one", None, 1.0)]) == ""
