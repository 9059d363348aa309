"""What a model is told: labels, bytes of a text, nothing."""

import pytest

from toneme.codecs.errors import ShapeError
from toneme.lm.models.prefix import NONE

from .made import make_model


def test_labels_and_nothing_stand_at_the_end():
    assert make_model("delay").prefix.ids(["two", None, "one"]).tolist() == [[0, 2], [NONE, 0], [0, 1]]
    assert make_model("delay").prefix.ids([None]).tolist() == [[0]]


def test_texts_are_read_as_bytes():
    prefix = make_model("delay", text=True).prefix
    assert prefix.ids(["ä", "a"]).tolist() == [[0, 1 + 0xC3, 1 + 0xA4], [NONE, 0, 1 + ord("a")]]
    assert prefix(prefix.ids(["ab", None]))[1].tolist() == [[True] * 3, [False, False, True]]


def test_what_a_model_does_not_know_is_refused():
    with pytest.raises(ShapeError, match="knows 2 labels, and 'tw' is none of them: two, say"):
        make_model("delay").prefix.ids(["tw"])
    with pytest.raises(ShapeError, match="trained without labels or text; got 'x'"):
        make_model("delay", labels=()).prefix.ids(["x"])
