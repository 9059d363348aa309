"""The trainer at a toy size: the loss falls, a resumed run is the whole run, a signal saves, and what is wrong stops it."""

import os
import signal

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from toneme.codecs.registry import from_official, load
from toneme.codecs.toneme24k import TonemeCodec
from toneme.recipes.errors import RecipeError, TrainingError
from toneme.recipes.recipe import read_recipe
from toneme.recipes.state import exact_states
from toneme.recipes.trainer import Trainer

from ..codecs.official import golden_weights
from .runs import CRITICS, small
from .toys import TEACHER

ALL = [*CRITICS, "balancer={}", "quantizer.full_depth=0.5"]


def watched(trainer):
    """Let a run's steps be seen: the list of what each measured."""
    seen, take = [], trainer.take_step
    trainer.take_step = lambda: (seen.append(take()), seen[-1])[1]
    return seen


def test_a_resumed_run_takes_the_steps_of_the_whole_run(audio, tmp_path):
    whole = small(audio, tmp_path / "run", *ALL)
    expected = watched(whole)
    whole.run()
    exact_states(tmp_path / "run" / "states")[-1].unlink()
    resumed = small(audio, tmp_path / "run", *ALL)
    seen = watched(resumed)
    assert resumed.run(resume=True) == 8
    assert seen == expected[4:]
    theirs = resumed.model.state_dict() | resumed.average.weights
    for name, value in (whole.model.state_dict() | whole.average.weights).items():
        assert torch.equal(value, theirs[name]), name


def test_curves_go_on_where_a_run_is_resumed(audio, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    small(audio, tmp_path / "run", "steps=4", "saving.log=2", "saving.every=4").run()
    small(audio, tmp_path / "run", "steps=8", "saving.log=2", "saving.every=4").run(resume=True)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("spectral")] == [2, 4, 6, 8]


def test_a_run_goes_on_from_an_older_state_where_the_newest_is_damaged(audio, tmp_path):
    small(audio, tmp_path / "run").run()
    newest = exact_states(tmp_path / "run" / "states")[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    resumed = small(audio, tmp_path / "run", "steps=9")
    seen = watched(resumed)
    with pytest.warns(UserWarning, match="cannot be read and is passed over"):
        assert resumed.run(resume=True) == 9
    assert len(seen) == 5


def test_states_are_rotated_and_the_recipe_lies_beside_them(audio, tmp_path):
    small(audio, tmp_path / "run", "saving.every=2", "saving.keep=2").run()
    assert [path.name for path in exact_states(tmp_path / "run" / "states")] == ["step-000000006.pt", "step-000000008.pt"]
    assert "latent_dim: 4" in (tmp_path / "run" / "recipe.yaml").read_text()
    assert not list((tmp_path / "run" / "states").glob("*.part*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_after_its_step_and_saves(audio, tmp_path, capsys, number):
    trainer = small(audio, tmp_path / "run", "steps=50")
    take = trainer.take_step
    trainer.take_step = lambda: (take(), os.kill(os.getpid(), number) if trainer.step == 3 else None)[0]
    before = signal.signal(number, signal.default_int_handler)  # tests may run under nohup
    try:
        assert trainer.run() == 3
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
    assert "stopped at step 3" in capsys.readouterr().err
    assert small(audio, tmp_path / "run", "steps=5").run(resume=True) == 5


def test_a_terminals_end_that_is_ignored_does_not_end_the_run(audio, tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        trainer = small(audio, tmp_path / "run", "steps=3")
        take = trainer.take_step
        trainer.take_step = lambda: (take(), os.kill(os.getpid(), signal.SIGHUP))[0]
        assert trainer.run() == 3
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_resumed_run_says_which_settings_are_others_than_before(audio, tmp_path, capsys):
    small(audio, tmp_path / "run", "steps=2", "optimizer.learning_rate=2e-4").run()
    small(audio, tmp_path / "run", "steps=2", "optimizer.learning_rate=2e-4").run(resume=True)
    assert "settings other than" not in capsys.readouterr().err
    small(audio, tmp_path / "run", "steps=3").run(resume=True)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "settings other than" in line]
    rate = read_recipe("tiny").optimizer.learning_rate
    assert line.endswith(f"with which the run began: steps 3 (was 2), optimizer.learning_rate {rate} (was 0.0002)")


def test_accumulated_batches_give_the_gradient_of_one_large_batch(audio, tmp_path):
    settings = ["quantizer.from_step=99", "optimizer.clip=0"]
    large = small(audio, tmp_path / "a", "batch=4", *settings)
    parts = small(audio, tmp_path / "b", "batch=2", "accumulate=2", *settings)
    ours, theirs = large.take_step(), parts.take_step()
    assert theirs["gradient"] == pytest.approx(ours["gradient"], rel=1e-4)
    assert theirs["spectral"] == pytest.approx(ours["spectral"], rel=1e-4)


def test_the_discriminators_gradient_is_clipped_by_its_own_bound(audio, tmp_path):
    settings = [*CRITICS, "adversarial.from_step=0", "adversarial.share=1", "quantizer.from_step=99", "optimizer.clip=0"]
    bounds = {"own": "adversarial.clip=1e-4", "none": "adversarial.clip=null", "shared": "optimizer.clip=1e-4"}
    moments = {}
    for name, bound in bounds.items():
        trainer = small(audio, tmp_path / name, *settings, bound)
        trainer.take_step()
        for part, optimizer in (("codec", trainer.optimizer), ("critics", trainer.critics_optimizer)):
            first = torch.cat([state["exp_avg"].flatten() for state in optimizer.state.values()])
            moments[name, part] = first.norm().item() / (1 - trainer.recipe.optimizer.betas[0])
    assert moments["own", "critics"] == pytest.approx(1e-4, rel=1e-2)
    assert moments["shared", "critics"] == pytest.approx(1e-4, rel=1e-2)
    assert moments["own", "codec"] == moments["none", "codec"] > 1e-2
    assert moments["none", "critics"] > 3e-4


def test_half_precision_trains_and_quantizes_in_full(audio, tmp_path):
    trainer = small(audio, tmp_path / "run", "precision=bf16", "steps=4", *CRITICS)
    trainer.run()
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in trainer.model.parameters())


def test_a_loss_that_is_not_finite_stops_the_run_with_an_explanation(audio, tmp_path):
    trainer = small(audio, tmp_path / "run")
    trainer.take_step()
    with torch.no_grad():
        trainer.model.codec.decoder.leave.bias[0] = float("nan")
    weights = trainer.model.codec.encoder.leave.weight.clone()
    with pytest.raises(TrainingError, match=r"spectral became nan at step 1, .* --resume"):
        trainer.take_step()
    assert torch.equal(weights, trainer.model.codec.encoder.leave.weight)


def test_a_collapsed_codebook_stops_the_run_and_is_named(audio, tmp_path):
    settings = ["watch.window=4", "watch.from_step=0", "watch.least_usage=0.3", "steps=20"]
    trainer = small(audio, tmp_path / "run", *settings)
    quantizer = trainer.model.quantizer
    quantizer.start = lambda rows: quantizer.codebooks.fill_(0)
    quantizer.update = lambda *given: None
    with pytest.raises(TrainingError, match=r"codebook 0 has collapsed: 12 % of its 8 codes"):
        trainer.run()


def test_a_codec_that_was_saved_is_trained_on(audio, tmp_path):
    small(audio, tmp_path / "run", "steps=3").run()
    trainer = small(audio, tmp_path / "more", f"init={tmp_path / 'run' / 'codec'}", "codec.name=finer", "quantizer.from_step=0")
    saved = TonemeCodec.from_folder(tmp_path / "run" / "codec")
    assert torch.equal(trainer.model.codec.encoder.leave.weight, saved.encoder.leave.weight)
    assert torch.equal(trainer.model.quantizer.codebooks, saved.quantizer.codebooks)
    trainer.take_step()
    assert trainer.codec().name == "finer"


@pytest.mark.parametrize("compact", [False, True])
def test_tokens_stay_as_they_are_where_the_decoder_alone_learns(audio, tmp_path, compact):
    small(audio, tmp_path / "run", "steps=3").run()
    start = f"init={tmp_path / 'run' / 'codec'}"
    settings = [start, "quantizer.from_step=0", "learns=[decoder]", "saving.every=1", "codec.name=finer"]
    small(audio, tmp_path / "more", *settings, "steps=2").run()
    if compact:
        [path.unlink() for path in exact_states(tmp_path / "more" / "states")]
    assert small(audio, tmp_path / "more", *settings, "steps=4").run(resume=True) == 4
    before, after = (TonemeCodec.from_folder(tmp_path / run / "codec") for run in ("run", "more"))
    for name, value in before.state_dict().items():
        learned = name.startswith("decoder.") and name in dict(before.named_parameters())
        assert torch.equal(value, after.state_dict()[name]) != learned, name
    sound = torch.randn(1, 1, 9600) * 0.1
    assert torch.equal(before.encode(sound).codes, after.encode(sound).codes)


@pytest.mark.parametrize(
    ("learns", "message"),
    [
        ("[head]", "learns: .* has no part 'head': use some of encoder, "),
        ("[quantizer]", "learns: quantizer of .* has no weights"),
    ],
)
def test_parts_that_cannot_learn_are_explained(audio, tmp_path, learns, message):
    small(audio, tmp_path / "run", "steps=1").run()
    with pytest.raises(RecipeError, match=message):
        small(audio, tmp_path / "more", f"init={tmp_path / 'run' / 'codec'}", f"learns={learns}")


def test_an_official_codec_needs_its_checkpoint(audio, tmp_path):
    with pytest.raises(RecipeError, match=r"init=bigcodec needs the official file as well: .* init=bigcodec:CHECKPOINT"):
        small(audio, tmp_path / "run", "init=bigcodec")


@pytest.mark.parametrize(("subject", "role"), [("first", "semantic"), ("all", "acoustic")])
def test_a_codec_tells_that_its_first_codebook_was_taught(subject, role, audio, tmp_path):
    transformers = pytest.importorskip("transformers", reason="teachers are speech models of transformers")
    transformers.HubertModel(transformers.HubertConfig(**TEACHER)).save_pretrained(tmp_path / "teacher")
    lesson = f"distil.speech={{teacher: {tmp_path / 'teacher'}, subject: {subject}}}"
    trainer = small(audio, tmp_path / "run", lesson, "quantizer.from_step=0")
    assert trainer.take_step()["distil_speech"] > 0
    trainer.codec().save(tmp_path / "codec")
    further = small(audio, tmp_path / "further", f"init={tmp_path / 'codec'}", "codec=null")
    for codec in (load(tmp_path / "codec"), further.codec()):
        assert codec.spec.roles[:2] == (role, "acoustic")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "recipe"), [("mimi", "mimi_24khz"), ("encodec_24khz", "encodec_24khz")])
def test_an_official_checkpoint_is_trained_on(name, recipe, audio, tmp_path):
    save_file(golden_weights(name), tmp_path / "published.safetensors")
    settings = [
        f"init={name}:{tmp_path / 'published.safetensors'}", f"data.train={audio}", "batch=1", "seconds=0.16", "data.workers=0",
        "precision=fp32", "adversarial.discriminators.multi_scale_stft={windows: [256], width: 4}", "codec.name=mine",
        *(["distil.wavlm=null"] if name == "mimi" else []),
    ]  # fmt: skip
    trainer = Trainer(read_recipe(recipe, settings), tmp_path / "run")
    before = from_official(name, tmp_path / "published.safetensors")
    assert torch.equal(trainer.codec().encode(sound := torch.randn(1, 1, 9600) * 0.1).codes, before.encode(sound).codes)
    assert trainer.take_step()["gradient"] > 0
    assert trainer.codec().name == "mine"


@pytest.mark.slow
def test_encoder_and_decoder_compile(audio, tmp_path):
    shallow = ["codec.config.encoder_blocks=[1, 0]", "codec.config.decoder_blocks=[0, 1]", "batch=1", "seconds=0.1"]
    plain, compiled = (small(audio, tmp_path / str(on), f"compile={on}", *shallow).take_step() for on in (False, True))
    assert compiled["gradient"] == pytest.approx(plain["gradient"], rel=1e-3)
    assert compiled["spectral"] == pytest.approx(plain["spectral"], rel=1e-3)


@pytest.mark.slow
def test_the_loss_falls(audio, tmp_path):
    trainer = small(audio, tmp_path / "run", "steps=120", "quantizer.from_step=40", "codec.config.codebook_size=32", "batch=4")
    values = [trainer.take_step()["spectral"] for _ in range(120)]
    assert np.mean(values[-10:]) < 0.85 * np.mean(values[:3])
