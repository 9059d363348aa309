"""Items: each a function of seed and number, cropped where there is sound, levelled, from files and banks alike."""

import os

import numpy as np
import pytest
import torch

from toneme.codecs.audio import write_audio
from toneme.recipes.data.items import Items, chances, make_items
from toneme.recipes.data.loudness import loudness
from toneme.recipes.data.recording import Recording
from toneme.recipes.errors import DataError, RecipeError
from toneme.recipes.recipe import DataSettings


@pytest.fixture
def folder(tmp_path, speech):
    quiet = torch.zeros(1, 4 * 24000)
    quiet[:, 60000:84000] = speech[:, 24000:48000]
    write_audio(tmp_path / "quiet.wav", quiet, 24000)
    write_audio(tmp_path / "short.wav", speech[:, 24000:30000], 24000)
    return tmp_path


def items(folder, seed: int = 0, **settings) -> Items:
    return make_items(DataSettings(train=str(folder), **settings), 24000, 1, 0.5, seed)


def test_an_item_depends_on_seed_and_number_alone(folder):
    ours, theirs, other = items(folder), items(folder), items(folder, seed=1)
    order = [5, 2, 9, 0]
    first = {n: theirs[n] for n in order}
    assert all(torch.equal(ours[n].waveform, first[n].waveform) for n in sorted(order))
    assert not all(torch.equal(ours[n].waveform, other[n].waveform) for n in order)


def test_names_that_are_no_text_are_read(folder):
    (folder / "short.wav").unlink()
    (folder / "quiet.wav").rename(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.wav"))
    assert items(folder)[0].failures == {}


def test_crops_seek_sound(folder):
    def quiet_share(tries: int) -> float:
        found = items(folder, tries=tries, flip=False)
        return np.mean([float(found[n].waveform.abs().max()) < 1e-3 for n in range(60)])

    assert quiet_share(8) < 0.5 * quiet_share(1)


def test_short_recordings_are_padded_and_never_longer(folder):
    found = items(folder)
    assert all(found[n].waveform.shape == (1, 12000) for n in range(20))


def test_items_come_at_the_loudness_that_was_drawn(folder):
    found = items(folder, loudness=(-30.0, -30.0), floor_db=-40.0, tries=20)
    levels = [loudness(found[n].waveform.numpy(), 24000) for n in range(10)]
    assert sum(abs(value + 30) < 0.1 for value in levels) >= 8


def test_a_bank_gives_what_the_files_give(folder, tmp_path):
    ours = items(folder, flip=False)
    bank = items(folder, flip=False, bank=True, cache=str(tmp_path / "cache"))
    again = items(folder, flip=False, bank=True, cache=str(tmp_path / "cache"))
    for n in range(6):
        torch.testing.assert_close(bank[n].waveform, ours[n].waveform, atol=4e-5, rtol=0)
        assert torch.equal(bank[n].waveform, again[n].waveform)


def test_a_corrupt_file_is_skipped_and_named(folder):
    body = (folder / "quiet.wav").read_bytes()
    (folder / "bad.flac").write_bytes(b"fLaC" + body[:2000])
    said = []
    found = make_items(DataSettings(train=str(folder)), 24000, 1, 0.5, 0, said.append)
    assert len(found.recordings) == 2
    assert "bad.flac" in said[0]
    # one that looks well until it is decoded
    found.recordings.append(Recording(str(folder / "bad.flac"), seconds=4.0))
    found.chances = np.array([0.1, 0.1, 0.8])
    found.__post_init__()
    results = [found[n] for n in range(8)]
    assert all(item.waveform is not None for item in results)
    assert {name.rsplit("/", 1)[1] for item in results for name in item.failures} == {"bad.flac"}


def test_nothing_to_train_on_is_an_error(folder):
    with pytest.raises(DataError, match="no recording is of the domains music"):
        items(folder, weights={"music": 1.0})
    with pytest.raises(RecipeError, match=r"data\.augment\.ecko is unknown"):
        items(folder, augment={"ecko": {}})


def test_an_empty_recording_is_in_no_bank_and_leaves_the_others_their_durations(folder, tmp_path):
    write_audio(folder / "empty.wav", torch.zeros(1, 0), 24000)
    plain, bank = items(folder), items(folder, bank=True, cache=str(tmp_path / "cache"))
    assert [part.name for part in bank.recordings] == [part.name for part in plain.recordings]
    np.testing.assert_allclose(bank.chances, plain.chances)


def test_domains_have_their_weights_and_recordings_their_durations():
    recordings = [Recording("a", "speech"), Recording("b", "speech"), Recording("c", "music")]
    np.testing.assert_allclose(chances(recordings, np.array([1.0, 3.0, 4.0]), {}), [0.125, 0.375, 0.5])
    weighed = chances(recordings, np.array([1.0, 3.0, 4.0]), {"speech": 0.8, "music": 0.2})
    np.testing.assert_allclose(weighed, [0.2, 0.6, 0.2])
