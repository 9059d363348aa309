"""SemantiCodec's stages at a toy size: they learn, resume, follow one another, and give a codec that decodes."""

from pathlib import Path

import pytest
import torch

import toneme
from toneme.codecs.layers.audioldm_names import audiomae_names, vae_encoder_names, vae_names, vocoder_names
from toneme.codecs.layers.ddim import Sampling
from toneme.codecs.layers.vae_encoder import VAEEncoder
from toneme.codecs.semanticodec import SemantiCodec
from toneme.recipes.errors import RecipeError, TrainingError
from toneme.recipes.latent import LatentTraining
from toneme.recipes.models import build_codec
from toneme.recipes.pretrained import load_parts
from toneme.recipes.recipe import read_recipe
from toneme.recipes.state import exact_states

SMALL = [
    "codec.config.audiomae={width: 16, layers: 3, heads: 2, hidden: 32, patch: 4, grid: [16, 2], averaged: 2}",
    "codec.config={semantic_size: 8, acoustic_size: 8, lstm_layers: 1, positions: 8}",
    "codec.config.unet={latents: 2, width: 32, multiples: [1, 2], blocks: 1, attends: [false, true], head: 16, context: 40}",
    "codec.config.vae={latents: 2, width: 32, multiples: [1, 2], blocks: 1}",
    "codec.config.vocoder={bins: 8, width: 32, block_kernels: [3], dilations: [1]}",
    "diffusion.parts=", "diffusion.fit=2", "batch=2", "data.workers=0", "precision=fp32", "optimizer.learning_rate=3.0e-3",
    "optimizer.warmup=0", "ema=0.5", "saving={every: 4, log: 2}",
]  # fmt: skip


def stage(name: str, audio: Path, folder: Path, *settings: str) -> LatentTraining:
    return LatentTraining(read_recipe(name, [*SMALL, f"data.train={audio}", *settings]), folder, name)


@pytest.fixture
def tokenizer(audio, tmp_path) -> Path:
    """A run of the first stage."""
    assert stage("semanticodec_tokenizer", audio, tmp_path / "one", "steps=8").run() == 8
    return tmp_path / "one"


def loss_of(run: LatentTraining, name: str) -> float:
    """The mean of a loss over some batches that are not learned from, the same whenever it is asked for."""
    torch.manual_seed(5)
    waveforms = [torch.stack([run.batches.items[n].waveform for n in range(4 * i, 4 * i + 4)]) for i in range(2)]
    with torch.no_grad():
        found = sum(run.stage.eval()(waveform)[0][name].item() for waveform in waveforms)
    run.stage.train()
    return found


def test_the_stages_learn_one_after_another_and_the_codec_decodes(audio, speech, tokenizer, tmp_path):
    first = toneme.load(tokenizer / "codec")
    assert first.semantic.fitted
    run = stage("semanticodec", audio, tmp_path / "two", f"init={tokenizer / 'codec'}", "steps=14")
    with torch.no_grad():
        run.stage.vae_encoder.spread.bias[2:] = -12.0  # what it gives is sure: noise of a random one could not be predicted
    frozen = {name: p.clone() for name, p in run.stage.named_parameters() if not p.requires_grad}
    before = {name: p.clone() for name, p in run.stage.named_parameters() if p.requires_grad}
    run.take_step()
    start = loss_of(run, "diffusion")
    assert run.run() == 14
    assert loss_of(run, "diffusion") < 0.9 * start
    after = dict(run.stage.named_parameters())
    assert all(torch.equal(value, after[name]) for name, value in frozen.items())
    assert not [name for name, value in before.items() if torch.equal(value, after[name])], "parameters that did not learn"
    codec = toneme.load(tmp_path / "two" / "codec")
    assert torch.equal(codec.semantic.centres, first.semantic.centres)
    assert codec.scale != 1
    codec.sampling = Sampling(steps=2)
    tokens = codec.encode(speech[None, :, :20000], 24000)
    assert tokens.codes.shape[1] == 2
    decoded = codec.decode(tokens)
    assert decoded.shape[-1] == int(tokens.n_samples[0])
    assert decoded.isfinite().all()


def test_the_tokenizer_may_stay_as_it_is(audio, tokenizer, speech, tmp_path):
    settings = (f"init={tokenizer / 'codec'}", "steps=2", "diffusion={tokenizer: false, loss: noise}")
    stage("semanticodec", audio, tmp_path / "two", *settings).run()
    first, second = toneme.load(tokenizer / "codec"), toneme.load(tmp_path / "two" / "codec")
    assert torch.equal(first.encode(speech[None], 24000).codes, second.encode(speech[None], 24000).codes)
    assert any(not torch.equal(p, q) for p, q in zip(first.unet.parameters(), second.unet.parameters(), strict=True))


def test_acoustic_codes_say_what_the_centres_leave(audio, tmp_path):
    run = stage("semanticodec_tokenizer", audio, tmp_path / "one", "steps=60", "codec.config.acoustic_size=32")
    for _ in range(3):
        run.take_step()
    start = loss_of(run, "features")
    for _ in range(30):
        run.take_step()
    assert loss_of(run, "features") < 0.9 * start


def test_learning_rates_reach_their_floor_whatever_steps_k_means_takes(audio, tmp_path):
    run = stage("semanticodec_tokenizer", audio, tmp_path, "steps=5", "optimizer.schedule=linear", "optimizer.floor=0")
    rates = []
    for _ in range(5):
        run.take_step()
        rates.append(run.optimizer.param_groups[0]["lr"])
    assert rates[2:] == pytest.approx([3e-3, 2e-3, 1e-3])  # after two steps of k-means; the next would be 0


@pytest.mark.parametrize("kind", ["tokenizer", "decoder"])
def test_a_resumed_stage_takes_the_steps_of_the_whole(kind, audio, tokenizer, tmp_path):
    name, init = ("semanticodec", [f"init={tokenizer / 'codec'}"]) if kind == "decoder" else ("semanticodec_tokenizer", [])
    whole = stage(name, audio, tmp_path / "run", *init, "steps=8")
    whole.run()
    exact_states(tmp_path / "run" / "states")[-1].unlink()
    resumed = stage(name, audio, tmp_path / "run", *init, "steps=8")
    assert resumed.run(resume=True) == 8
    theirs = resumed.stage.state_dict() | resumed.average.weights
    for key, value in (whole.stage.state_dict() | whole.average.weights).items():
        assert torch.equal(value, theirs[key]), key


def test_pretrained_parts_come_from_the_published_files(audio, tmp_path):
    torch.manual_seed(1)
    codec = build_codec(read_recipe("semanticodec_tokenizer", SMALL).codec, "x")
    assert isinstance(codec, SemantiCodec)
    encoder = VAEEncoder(codec.config.vae)
    files = {"encoder": {f"audiomae.model.{theirs}": codec.audiomae.get_parameter(ours).data
                         for ours, theirs in audiomae_names(codec.audiomae).items()}, "decoder": {}}  # fmt: skip
    for part, names, where in (
        (codec.vae, vae_names(codec.vae), ""), (encoder, vae_encoder_names(encoder), ""),
        (codec.vocoder, vocoder_names(codec.vocoder), "vocoder."),
    ):  # fmt: skip
        for ours, theirs in names.items():
            files["decoder"][f"first_stage_model.{where}{theirs}"] = part.get_parameter(ours).data
    for name, weights in files.items():
        torch.save({"state_dict": weights}, tmp_path / f"{name}.ckpt")
    other, theirs = build_codec(read_recipe("semanticodec_tokenizer", SMALL).codec, "x"), VAEEncoder(codec.config.vae)
    load_parts(other, theirs, str(tmp_path))
    for part in ("audiomae", "vae", "vocoder"):
        for ours, expected in codec.get_submodule(part).named_parameters():
            assert torch.equal(other.get_submodule(part).get_parameter(ours), expected), f"{part}.{ours}"
    assert torch.equal(theirs.enter.weight, encoder.enter.weight)
    with pytest.raises(RecipeError, match=r"must hold encoder\.ckpt and decoder\.ckpt as published"):
        load_parts(other, theirs, str(tmp_path / "nowhere"))


def test_what_a_stage_needs_is_said(audio, tmp_path):
    with pytest.raises(RecipeError, match="name the codec of the tokenizer's stage in init"):
        stage("semanticodec", audio, tmp_path, "init=")
    with pytest.raises(RecipeError, match=r"diffusion\.stage is one of tokenizer, decoder of a semanticodec; got 'third'"):
        stage("semanticodec_tokenizer", audio, tmp_path, "diffusion.stage=third")
    with pytest.raises(TrainingError, match="0 steps gave fewer features than the 64"):
        stage("semanticodec_tokenizer", audio, tmp_path, "diffusion.fit=0").take_step()
