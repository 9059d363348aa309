"""Transcripts: batches by number, alike in length, that a teacher would hear as they are."""

import pytest
import torch

from toneme.codecs.teachers import mel_spectra
from toneme.recipes.data.items import make_items
from toneme.recipes.data.utterances import BLANK, GAP, Transcripts, plain
from toneme.recipes.errors import DataError
from toneme.recipes.recipe import DataSettings

from ..tones import made_texts, write_tones


@pytest.fixture
def manifest(tmp_path):
    return write_tones(tmp_path / "tones", [*made_texts(11), "", "a" * 60])


def transcripts(manifest, seconds: float = 2.0, apart: float = 0.2, seed: int = 0) -> Transcripts:
    return Transcripts(make_items(DataSettings(train=str(manifest)), 16000, 1, seconds, seed), apart)


def test_texts_are_letters_and_the_gaps_between_words():
    assert plain("  Don't SHOUT, u\u0308ber 3 dogs! ") == "don't|shout|über|dogs"
    assert plain("3.14 ...") == ""


def test_what_is_learned_from_and_what_is_held_apart_is_all_that_can_be_used(manifest):
    spoken = transcripts(manifest)
    assert spoken.symbols == (BLANK, "a", "b", "c", "d", GAP)
    assert sorted([*spoken.learned, *spoken.apart]) == list(range(11))
    assert len(spoken.apart) == 2
    assert transcripts(manifest, seed=1).apart != spoken.apart


def test_a_batch_depends_on_seed_and_number_alone(manifest):
    spoken, again = transcripts(manifest), transcripts(manifest)
    first = {number: spoken.batch(number, 3) for number in (7, 0, 4)}
    for number in (0, 4, 7):
        assert torch.equal(again.batch(number, 3).spectra, first[number].spectra)
        assert torch.equal(again.batch(number, 3).letters, first[number].letters)
    assert [spoken._numbers(n, 3).tolist() for n in range(3)] != [spoken._numbers(n, 3).tolist() for n in range(3, 6)]


def test_an_epoch_takes_every_recording_once_and_neighbours_in_length_together(manifest):
    spoken = transcripts(manifest)
    taken = [number for batch in range(3) for number in spoken._numbers(batch, 3)]
    assert sorted(taken) == sorted(spoken.learned)
    order = spoken.learned.tolist()
    for batch in range(6):
        places = [order.index(number) for number in spoken._numbers(batch, 3)]
        assert places == list(range(places[0], places[0] + 3))
    assert len(spoken.batch(0, 100).counts) == 9


def test_a_recording_in_a_batch_is_what_a_teacher_hears_alone(manifest):
    spoken = transcripts(manifest)
    numbers = [spoken.learned[0], spoken.learned[-1]]
    batch = spoken.gather(numbers)
    for number, spectra, heard, letters in zip(
        numbers, batch.spectra, batch.heard, batch.letters.split(batch.counts.tolist()), strict=True
    ):
        sound = torch.from_numpy(spoken.items.read(number, 0.0, 100.0))
        alone = mel_spectra(torch.nn.functional.pad(sound, (160, 160)))[0]
        assert torch.equal(spectra[: len(alone)], alone)
        assert heard.tolist() == [True] * len(alone) + [False] * (len(spectra) - len(alone))
        assert not spectra[len(alone) :].any()
        assert "".join(spoken.symbols[place] for place in letters) == spoken.texts[number]
    assert batch.frames[0] < batch.frames[1]


def test_data_without_transcripts_are_refused(tmp_path):
    manifest = write_tones(tmp_path / "tones", ["", "ab", "abcd abcd"])
    with pytest.raises(DataError, match=r"1 of 3 recordings have a transcript and at most 0.5 s: give data.train a manifest"):
        transcripts(manifest, seconds=0.5)


def test_a_recording_that_cannot_be_read_after_all_is_named_once_and_left_out(manifest):
    said: list[str] = []
    spoken = Transcripts(make_items(DataSettings(train=str(manifest)), 16000, 1, 2.0, 0), 0.2, said.append)
    gone, kept = int(spoken.learned[1]), int(spoken.learned[2])
    (manifest.parent / f"{gone}.wav").write_bytes(b"no audio")
    for _ in range(2):
        assert len(spoken.gather([gone, kept]).counts) == 1
    assert len(said) == 1
    assert f"{gone}.wav is left out: " in said[0]
    with pytest.raises(DataError, match="none of the 1 recordings of a batch can be read"):
        spoken.gather([gone])


def test_something_is_left_to_learn_from(manifest):
    assert len(transcripts(manifest, apart=0.999).learned) == 1
