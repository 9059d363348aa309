"""The plain trainer at a toy size: the loss falls, and a resumed run is the whole run."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import toneme
from toneme.codecs.audio import write_audio
from toneme.recipes import train as trainer
from toneme.recipes.data import Bank, find_audio, load_bank

RECIPE = Path(trainer.__file__).with_name("toneme_24k.yaml")
TINY = ["steps=8", "batch=2", "seconds=0.2", "warmup=2", "quantize_from=2", "save_every=4",
        "codec.encoder_dim=16", "codec.decoder_dim=16", "codec.encoder_blocks=[1, 1]", "codec.decoder_blocks=[1, 1]",
        "codec.codebooks=2", "codec.codebook_size=8", "codec.latent_dim=4"]  # fmt: skip


def tiny(tmp_path: Path, *settings: str) -> dict:
    recipe = yaml.safe_load(RECIPE.read_text())
    places = [f"data.root={tmp_path}", f"data.cache={tmp_path / 'cache'}", "data.weights={speech: 1.0}"]
    return trainer.override(recipe, [*TINY, *places, *settings])


@pytest.fixture
def audio(tmp_path, speech):
    write_audio(tmp_path / "one.wav", speech, 24000)
    return tmp_path


def losses(recipe: dict, state: trainer.State, steps: int) -> list[float]:
    loss = trainer.SpectralLoss(24000)
    return [trainer.train_step(state, loss)["mel"] for _ in range(steps)]


def test_a_resumed_run_takes_the_steps_of_the_whole_run(audio):
    recipe = tiny(audio)
    whole = losses(recipe, trainer.start(recipe), 8)
    state = trainer.start(recipe)
    first = losses(recipe, state, 4)
    state.save(audio / "state.pt")
    torch.manual_seed(99)
    resumed = trainer.start(recipe)
    resumed.load(audio / "state.pt")
    assert first + losses(recipe, resumed, 4) == whole


def test_training_writes_a_codec_that_loads_and_codes(audio, speech):
    recipe = tiny(audio)
    trainer.train(trainer.start(recipe), audio / "run")
    codec = toneme.load(str(audio / "run" / "codec"))
    assert codec.decode(codec.encode(speech[None])).shape == (1, *speech.shape)


@pytest.mark.slow
def test_the_loss_falls(audio):
    recipe = tiny(audio, "steps=120", "quantize_from=40", "codec.codebook_size=32", "batch=4")
    values = losses(recipe, trainer.start(recipe), 120)
    assert np.mean(values[-10:]) < 0.7 * np.mean(values[:10])


def test_the_rate_warms_up_and_falls_to_a_fiftieth():
    recipe = {"learning_rate": 1.0, "warmup": 10, "steps": 110}
    assert trainer.learning_rate(recipe, 0) == pytest.approx(0.1)
    assert trainer.learning_rate(recipe, 10) == pytest.approx(1.0)
    assert trainer.learning_rate(recipe, 110) == pytest.approx(0.02)


def test_depths_reach_every_codebook_count():
    depths = trainer.draw_depths({"full_depth": 0.5}, 8, 4000, torch.Generator().manual_seed(0))
    share = torch.bincount(depths, minlength=9).double() / 4000
    assert share[0] == 0
    assert share[8].item() == pytest.approx(0.5 + 0.5 / 8, abs=0.03)
    assert all(abs(s - 0.5 / 8) < 0.02 for s in share[1:8].tolist())


def test_settings_that_name_nothing_are_refused(audio):
    with pytest.raises(ValueError, match="sets nothing"):
        tiny(audio, "stepz=3")


def test_a_crop_never_crosses_recordings_and_pads_short_ones():
    bank = Bank(np.array([1] * 10 + [2] * 500, dtype=np.int16), np.array([0, 10, 510]))
    rng = np.random.default_rng(0)
    for _ in range(200):
        piece = bank.crop(50, rng)
        assert len(piece) == 50
        assert set(piece) in ({0, 1}, {2})


def test_unreadable_files_are_named_and_left_out(audio):
    (audio / "bad.wav").write_text("not audio")
    bank, failures = load_bank(find_audio(audio, "speech"), 24000)
    assert len(bank.bounds) == 2
    assert len(failures) == 1
    assert "bad.wav" in failures[0]
