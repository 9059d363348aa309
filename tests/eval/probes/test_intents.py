"""Intents: 31 of them, each said in ways that say no other, those held out with words that can be known."""

from collections import Counter

from toneme.eval.probes.intents import HELD_OUT, INTENTS, NOWHERE, WORDINGS

SMALL_TALK = {"please", "could", "you", "have"}  # may come in wordings held out alone


def words(text):
    return set(text.replace(",", "").split())


def test_no_sentence_says_two_things():
    assert len({intent.label for intent in INTENTS}) == len(INTENTS) == 31
    texts = Counter(text for intent in INTENTS for text in (*intent.known, *intent.held_out))
    assert len(texts) == 31 * 6
    assert set(texts.values()) == {1}
    assert {len(own) for own in WORDINGS.values()} == {4 + HELD_OUT}


def test_every_wording_names_object_and_place():
    for intent in INTENTS:
        named = {intent.object, *([] if intent.place == NOWHERE else [intent.place])}
        places = {other.place for other in INTENTS} - named
        for text in (*intent.known, *intent.held_out):
            assert named <= words(text), text
            assert not places & words(text), text
            assert "{" not in text


def test_wordings_held_out_have_words_of_those_known():
    for intent in INTENTS:
        known = {word for other in INTENTS for text in other.known for word in words(text)}
        own = {word for text in intent.known for word in words(text)} - {intent.object, intent.place, "the"}
        for text in intent.held_out:
            assert not words(text) - known - SMALL_TALK - {"switched"}, text
            assert words(text) & own, text
