"""The report's tables: numbers stay numbers beside words that say why there is none."""

from toneme.eval.report import report_html
from toneme.eval.suite import Section, Table


def test_a_reason_in_a_column_does_not_undo_its_numbers():
    table = Table(["codec", "PESQ"], [["a", "1.5 [1.2, 1.8] (2 failed)"], ["b", "weights not available"], ["c", "-"]])
    page = report_html("title", {}, [Section("part", tables=(table,))])
    assert "<th>codec</th><th class=n>PESQ</th>" in page
    assert "<td class=n>1.5<small>[1.2, 1.8] (2 failed)</small></td>" in page
    assert "<td>weights not available</td>" in page
    assert "<td class=n>-</td>" in page


def test_a_column_of_words_is_none_of_numbers():
    page = report_html("title", {}, [Section("part", tables=(Table(["x", "1"], [["a", "b.wav: 1.5"], ["c", ""]]),))])
    assert "<th>1</th>" in page
    assert "<td>b.wav: 1.5</td>" in page
