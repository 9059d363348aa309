"""The bank: what changed under an old name is decoded anew and said, all else stays, and old forms are taken over."""

import os

import numpy as np
import pytest
import torch

from toneme.codecs.audio import write_audio
from toneme.recipes.data import bank
from toneme.recipes.data.bank import load_bank
from toneme.recipes.data.recording import Recording


@pytest.fixture
def recordings(tmp_path):
    for number in range(3):
        write(tmp_path, number, 0.1 * (number + 1))
    return [Recording(str(tmp_path / f"{number}.wav")) for number in range(3)]


def write(folder, number, level, samples=2400, time=10**18):
    write_audio(folder / f"{number}.wav", torch.full((1, samples), level), 24000)
    os.utime(folder / f"{number}.wav", ns=(time, time))


def levels(recordings, cache, said):
    """Levels of recordings in the bank, and its failures."""
    made, failures = load_bank(recordings, 24000, 1, cache, said.append)
    found = [round(float(made.read(n, 0, 1).mean()), 2) for n in range(len(made.recordings))]
    assert [part.name for part in made.recordings] == [part.name for part in recordings if part.name not in failures]
    return found, [name.rsplit("/", 1)[1] for name in failures]


@pytest.fixture
def decoded(monkeypatch):
    """Names of what is decoded."""
    names, read = [], Recording.read
    monkeypatch.setattr(Recording, "read", lambda self, *how: names.append(self.path.rsplit("/", 1)[1]) or read(self, *how))
    return names


def test_only_what_changed_is_decoded_anew(recordings, tmp_path, decoded):
    cache, said = tmp_path / "cache", []
    assert levels(recordings, cache, said) == ([0.1, 0.2, 0.3], [])
    decoded.clear()
    os.utime(recordings[0].path, ns=(0, 0))  # as a copy has
    write(tmp_path, 1, 0.5, time=10**17)  # as long as before, and older
    assert levels(recordings, cache, said) == ([0.1, 0.5, 0.3], [])
    assert decoded == ["1.wav"]
    write(tmp_path, 2, 0.6, samples=1200)
    assert levels(recordings, cache, said) == ([0.1, 0.5, 0.6], [])
    assert decoded == ["1.wav", "2.wav"]
    assert said == [f"1 of 3 recordings changed since {cache} was written: they are decoded anew"] * 2
    assert len(list(cache.iterdir())) == 2
    assert levels(recordings, cache, said) == ([0.1, 0.5, 0.6], [])
    assert len(decoded) == len(said) == 2


def test_what_cannot_be_read_is_said_every_time_and_taken_once_it_is_mended(recordings, tmp_path, decoded):
    cache, good = tmp_path / "cache", (tmp_path / "1.wav").read_bytes()
    (tmp_path / "1.wav").write_bytes(b"no audio")
    for _ in range(2):
        assert levels(recordings, cache, []) == ([0.1, 0.3], ["1.wav"])
    assert decoded == ["0.wav", "1.wav", "2.wav", "1.wav"]
    (tmp_path / "1.wav").write_bytes(good)
    assert levels(recordings, cache, []) == ([0.1, 0.2, 0.3], [])
    (tmp_path / "0.wav").write_bytes(b"no audio")
    assert levels(recordings, cache, []) == ([0.2, 0.3], ["0.wav"])


def test_the_audio_need_not_be_there(recordings, tmp_path, decoded):
    levels(recordings, tmp_path / "cache", [])
    for part in recordings:
        os.unlink(part.path)
    decoded.clear()
    assert levels(recordings, tmp_path / "cache", []) == ([0.1, 0.2, 0.3], [])
    assert not decoded


def test_a_run_that_was_killed_before_the_table_was_written_leaves_nothing_wrong(recordings, tmp_path):
    cache = tmp_path / "cache"
    levels(recordings, cache, [])
    (table,) = cache.glob("*.table.npy")
    before = table.read_bytes()
    write(tmp_path, 1, 0.5, time=10**17)
    levels(recordings, cache, [])
    for state in (before, None):
        table.unlink() if state is None else table.write_bytes(state)
        assert levels(recordings, cache, []) == ([0.1, 0.5, 0.3], [])


def test_a_bank_of_the_earlier_form_is_taken_over(recordings, tmp_path, decoded):
    cache = tmp_path / "cache"
    levels(recordings, cache, [])
    (table,) = cache.glob("*.table.npy")
    (samples,) = (path for path in cache.glob("*.npy") if path != table)
    key = table.name.split(".")[0]
    samples.rename(cache / f"{key}.npy")
    # the second recording could not be read when it was written
    piece = np.load(cache / f"{key}.npy")
    np.save(cache / f"{key}.npy", np.delete(piece, slice(2400, 4800), axis=1))
    np.save(cache / f"{key}.bounds.npy", np.array([[0, 0], [2400, 0], [4800, 2]]))
    table.unlink()
    write(tmp_path, 2, 0.9, time=1 << 62)  # later than the bank
    decoded.clear()
    said = []
    assert levels(recordings, cache, said) == ([0.1, 0.2, 0.9], [])
    assert decoded == ["2.wav", "1.wav"]
    assert len(said) == 1
    assert len(list(cache.iterdir())) == 2


def test_another_process_may_put_a_new_state_in_place_meanwhile(recordings, tmp_path, decoded, monkeypatch):
    cache, load, late = tmp_path / "cache", np.load, []
    levels(recordings, cache, [])
    write(tmp_path, 1, 0.5, time=10**17)

    def between(path, *how, **settings):
        found = load(path, *how, **settings)
        if path.name.endswith(".table.npy") and not late:
            late.append(path)
            levels(recordings, cache, [])
        return found

    monkeypatch.setattr(bank.np, "load", between)
    assert levels(recordings, cache, []) == ([0.1, 0.5, 0.3], [])
    assert decoded == ["0.wav", "1.wav", "2.wav", "1.wav"]
