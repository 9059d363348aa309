"""Audio to train on."""

from pathlib import Path

import pytest

from toneme.codecs.audio import write_audio


@pytest.fixture
def audio(tmp_path, speech) -> Path:
    """A folder of two recordings."""
    folder = tmp_path / "audio"
    folder.mkdir()
    write_audio(folder / "one.wav", speech[:, : 3 * 24000], 24000)
    write_audio(folder / "two.flac", speech[:, 3 * 24000 :], 24000)
    return folder
