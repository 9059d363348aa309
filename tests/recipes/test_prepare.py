"""Preparing: the bank that a run then reads instead of the audio."""

import shutil

from toneme.recipes.data.items import make_items
from toneme.recipes.prepare import prepare
from toneme.recipes.recipe import read_recipe


def test_a_run_reads_what_was_prepared_and_not_the_audio(audio, tmp_path, speech):
    settings = [f"data.train={audio}", f"data.cache={tmp_path / 'cache'}", "data.bank=true"]
    recordings, hours = prepare("tiny", settings)
    assert recordings == 2
    assert abs(3600 * hours - speech.shape[1] / 24000) < 0.01
    (written,) = (tmp_path / "cache").glob("bank-????????????????-????????????????.npy")
    before = written.stat().st_mtime_ns
    items = make_items(read_recipe("tiny", settings).data, 24000, 1, 0.5, 0)
    assert written.stat().st_mtime_ns == before
    shutil.rmtree(audio)
    assert items[0].waveform.shape == (1, 12000)
