"""Licences: which are asked about, what a terminal and a script see, and that an answer is kept."""

import io
import json

import pytest

from toneme.codecs.errors import CheckpointError
from toneme.codecs.licences import agree, answers_file, licence_of

NC = "CC-BY-NC-4.0"


class Terminal(io.StringIO):
    """A terminal on which somebody types."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("APPDATA", str(tmp_path / "home"))
    monkeypatch.delenv("TONEME_ACCEPT_LICENCE", raising=False)
    return tmp_path / "home"


@pytest.fixture
def typed(monkeypatch):
    """Put somebody at a terminal who types a text; return what they are shown."""

    def install(text: str) -> Terminal:
        shown = Terminal()
        monkeypatch.setattr("sys.stdin", Terminal(text))
        monkeypatch.setattr("sys.stderr", shown)
        return shown

    return install


@pytest.mark.parametrize("licence", ["", "MIT", "Apache-2.0", "CC-BY-4.0", "CC-BY-SA-4.0", "cc0-1.0", "NCSA", "openrail"])
def test_licences_that_allow_commercial_use_are_not_asked_about(licence, typed):
    shown = typed("")
    agree("org/name", licence)
    assert not shown.getvalue()


@pytest.mark.parametrize(
    "licence", [NC, "cc-by-nc-sa-4.0", "CC-BY-NC-ND-4.0", "other-noncommercial", "Research-Only", "x-non-commercial"]
)
def test_a_script_is_refused_in_one_sentence(licence, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(CheckpointError) as error:
        agree("org/name", licence)
    assert str(error.value) == (
        f"the weights of org/name have the licence {licence}, which forbids commercial use and must be accepted first: "
        f"set TONEME_ACCEPT_LICENCE={licence} to accept it"
    )
    assert not answers_file().exists()


@pytest.mark.parametrize("named", [NC, "all", f"MIT, {NC.lower()}"])
def test_the_environment_accepts(named, monkeypatch):
    monkeypatch.setenv("TONEME_ACCEPT_LICENCE", named)
    agree("org/name", NC)
    monkeypatch.setenv("TONEME_ACCEPT_LICENCE", "CC-BY-NC-SA-4.0")
    with pytest.raises(CheckpointError, match="must be accepted"):
        agree("org/name", NC)


def test_yes_is_asked_for_once(typed):
    shown = typed("what?\ny\n")
    agree("org/name", NC)
    assert shown.getvalue().count("org/name have the licence CC-BY-NC-4.0: no commercial use. Fetch them? [y/n]") == 2
    shown = typed("")
    agree("org/name", NC)
    assert not shown.getvalue()
    assert json.loads(answers_file().read_text()) == {"org/name": {"licence": NC, "accepted": True}}


def test_no_is_kept_too_and_can_be_taken_back(typed, monkeypatch):
    typed("n\n")
    with pytest.raises(CheckpointError, match="was not accepted: set TONEME_ACCEPT_LICENCE"):
        agree("org/name", NC)
    shown = typed("y\n")
    with pytest.raises(CheckpointError, match="was not accepted"):
        agree("org/name", NC)
    assert not shown.getvalue()
    monkeypatch.setenv("TONEME_ACCEPT_LICENCE", NC)
    agree("org/name", NC)


def test_another_licence_or_another_name_is_another_question(typed):
    typed("y\n")
    agree("org/name", NC)
    for name, licence in (("org/name", "CC-BY-NC-SA-4.0"), ("org/other", NC)):
        typed("")  # the end of the input is no consent
        with pytest.raises(CheckpointError, match="was not accepted"):
            agree(name, licence)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"org/name": 1}', '{"org/name": {"licence": "CC-BY-NC-4.0", "accepted": 1}}']
)
def test_a_damaged_file_of_answers_is_no_consent(content, monkeypatch):
    answers_file().parent.mkdir(parents=True)
    answers_file().write_text(content)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(CheckpointError, match="accepted"):
        agree("org/name", NC)


def test_an_answer_that_cannot_be_kept_counts_once(typed, home):
    home.write_text("a file where a folder should be")
    typed("y\n")
    with pytest.warns(UserWarning, match="cannot be written .* asked again"):
        agree("org/name", NC)


@pytest.mark.parametrize(
    ("config", "card", "expected"),
    [
        ('{"config": {"licence": "MIT"}}', "---\nlicense: cc-by-nc-4.0\n---\n", "MIT"),
        ('{"config": {"licence": ""}}', "---\ntags: [a]\nlicense: cc-by-nc-4.0\n---\n# Card", "cc-by-nc-4.0"),
        ("{", '---\nlicense: "mit"\n---\n', "mit"),
        ("{}", "# Card\nlicense: mit", ""),
        (None, None, ""),
        ('\ufeff{"config": {"licence": "\u00a9 M\u00fcller"}}', None, "\u00a9 M\u00fcller"),  # as Windows' editors write UTF-8
        (None, "\ufeff---\nlicense: mit\n---\n", "mit"),
    ],
)
def test_where_the_licence_is_stated(tmp_path, config, card, expected):
    for name, text in (("config.json", config), ("README.md", card)):
        if text is not None:
            (tmp_path / name).write_text(text, encoding="utf-8")
    assert licence_of(tmp_path) == expected
