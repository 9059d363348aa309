"""What suites share: words of reports, and which codecs they look at."""

from toneme.eval.report import report_html
from toneme.eval.suite import Section, deepest, words_of
from toneme.eval.systems import About, CodecSystem

from .standins import Scaled

DOC = """A suite.

- one: this, and
  more of it.
- two: a < b.

An end
on two lines.
"""


def test_words_keep_points_and_paragraphs_apart():
    assert words_of(DOC) == "- one: this, and more of it.\n- two: a < b.\n\nAn end on two lines."


def test_a_module_without_more_than_a_title_says_nothing():
    assert words_of("A suite.") == words_of(None) == ""


def test_points_are_a_list_of_the_page():
    page = report_html("title", {}, [Section("part", words_of(DOC))])
    assert "<ul><li>one: this, and more of it.</li><li>two: a &lt; b.</li></ul><p>An end on two lines.</p>" in page


def test_the_deepest_of_each_codec_fewest_codebooks_first():
    systems = [
        CodecSystem(source, source, source, "", About(), depth) for source, depth in (("a", 8), ("b", 1), ("b", 4), ("a", 2))
    ]
    assert list(deepest([Scaled(0.5), *systems]).items()) == [("b", systems[2]), ("a", systems[0])]
