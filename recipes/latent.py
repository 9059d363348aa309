"""Training SemantiCodec: k-means of its semantic codes, its acoustic codes, and the diffusion model that sounds them."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..codecs.checkpoint import load_exactly
from ..codecs.layers.vae_encoder import VAEEncoder
from ..codecs.semanticodec import SemantiCodec
from . import machines
from .average import Average
from .codebooks import Usage, rows_wanted, set_options, settle, start_codebooks
from .data.items import make_items
from .data.loader import Batches
from .errors import RecipeError, TrainingError
from .models import build_codec, initial_codec
from .pretrained import load_parts
from .recipe import Recipe
from .run import Run
from .stages import DecoderStage, Stage, TokenizerStage
from .state import read_newest, write_exact

STAGES = ("tokenizer", "decoder")


class LatentTraining(Run):
    """A run of a recipe with a `diffusion.stage`, with the face of a `Trainer`.

    Args:
        recipe: of which codec, init, diffusion, steps, batch, accumulate, optimizer, quantizer (kmeans, commitment, options),
            data, saving, watch, precision, ema and seed count; items are windows of the codec.
        folder: of the run.
        name: of the codec where the recipe has none.
        device: "cpu", "cuda" or "cuda:N"; under torchrun every process has a GPU of its own.

    Raises:
        RecipeError: if the codec is of another family, or there is no such stage.
    """

    def __init__(self, recipe: Recipe, folder: Path, name: str = "semanticodec", device: str = "cpu") -> None:
        super().__init__(recipe, folder, device)
        self.codec = self._codec(name)
        self.stage = self._stage().to(self.device).train()
        spec, data = self.codec.spec, recipe.data
        seconds = self.codec.config.window / spec.sample_rate
        items = make_items(data, spec.sample_rate, spec.channels, seconds, recipe.seed, self.say)
        workers = (data.workers, data.timeout, self.say)
        self.batches = Batches(items, recipe.batch, 0, self.rank, self.world, *workers)
        self.learned = [p for p in self.stage.parameters() if p.requires_grad]
        settings = recipe.optimizer
        self.optimizer = torch.optim.AdamW(
            self.learned, lr=settings.learning_rate, betas=settings.betas, weight_decay=settings.weight_decay
        )
        self.average = Average(self.stage, recipe.ema)
        self.usage = Usage(spec.codebook_sizes, recipe.watch.window, self.device)
        self.started = False

    def _codec(self, name: str) -> SemantiCodec:
        recipe = self.recipe
        if recipe.diffusion.stage == "decoder" and not recipe.init:
            raise RecipeError("the decoder learns to sound codes: name the codec of the tokenizer's stage in init")
        codec = initial_codec(recipe.init, recipe.codec.name) if recipe.init else build_codec(recipe.codec, name)
        if not isinstance(codec, SemantiCodec) or recipe.diffusion.stage not in STAGES:
            raise RecipeError(
                f"diffusion.stage is one of {', '.join(STAGES)} of a semanticodec; got {recipe.diffusion.stage!r} of "
                f"{codec.family}"
            )
        return codec

    def _stage(self) -> Stage:
        recipe, settings = self.recipe, self.recipe.diffusion
        encoder = VAEEncoder(self.codec.config.vae)
        load_parts(self.codec, encoder, settings.parts)
        set_options(self.codec.acoustic, recipe.quantizer.options)
        if recipe.init:
            settle(self.codec)
        commitment = recipe.quantizer.commitment
        if settings.stage == "tokenizer":
            return TokenizerStage(self.codec, commitment)
        return DecoderStage(self.codec, encoder, settings.tokenizer, settings.loss, settings.drop, commitment)

    @property
    def _fits(self) -> bool:
        """Whether this step is one of k-means."""
        return self._learning < 0

    @property
    def _learning(self) -> int:
        """Steps taken since k-means."""
        return self.step - self._fitting

    @property
    def _fitting(self) -> int:
        """Steps of k-means."""
        return self.recipe.diffusion.fit if self.recipe.diffusion.stage == "tokenizer" else 0

    @property
    def _scheduled(self) -> int:
        return self.recipe.steps - self._fitting

    # -- one step ---------------------------------------------------------------------------------------------------

    def take_step(self) -> dict[str, float]:
        """Take one step and return what it measured.

        Raises:
            TrainingError: if a loss or a gradient is not finite, or there were too few features for centres.
        """
        self._seed()
        if self._fits:
            return self._fit()
        if not self.started:
            self._start()
        sums: dict[str, float] = {}
        for _ in range(self.recipe.accumulate):
            for name, value in self._accumulate(self.batches.next().waveform.to(self.device)).items():
                sums[name] = sums.get(name, 0.0) + value / self.recipe.accumulate
        sums["gradient"] = self._move(self.learned, self._learning)
        if wild := [name for name, value in sums.items() if not math.isfinite(value)]:
            raise TrainingError(
                f"{wild[0]} became {sums[wild[0]]} at step {self.step}: lower optimizer.learning_rate, and go on from the last "
                "state with --resume"
            )
        self.average.follow(self._learning)
        self.step += 1
        return sums

    def _fit(self) -> dict[str, float]:
        """Move the semantic codes' centres to one batch."""
        if self.world > 1:
            raise RecipeError("k-means fits semantic codes in one process: train the tokenizer's stage without torchrun")
        semantic = self.codec.semantic
        features, beyond = self.stage.hear(self.batches.next().waveform.to(self.device))
        semantic.partial_fit(features.transpose(1, 2)[~beyond].T[None])
        self.step += 1
        return {"distance": semantic(features).commitment.item()} if semantic.fitted else {}

    def _start(self) -> None:
        """Set what learning starts from: the scale of latents, and the acoustic codebook, on batches that come again."""
        self.started = True
        if not self.codec.semantic.fitted:
            raise TrainingError(
                f"{self.step} steps gave fewer features than the {self.codec.semantic.start_rows} that the first semantic "
                "codes take: raise diffusion.fit or batch"
            )
        position, wanted = self.batches.position, rows_wanted(self.codec.acoustic)
        first = self.batches.next().waveform.to(self.device)
        if isinstance(self.stage, DecoderStage):
            self.codec.scale.fill_(
                machines.mean_of({"scale": self.stage.latents_scale(first).item()}, self.world, self.device)["scale"]
            )
        if self.recipe.diffusion.stage == "tokenizer" and self.recipe.quantizer.kmeans:
            rows = [self.stage.acoustic_rows(first)]
            while sum(map(len, rows)) < wanted:
                rows.append(self.stage.acoustic_rows(self.batches.next().waveform.to(self.device)))
            start_codebooks(self.codec.acoustic, torch.cat(rows).T[None])
        self.batches.seek(position)

    def _accumulate(self, waveform: Tensor) -> dict[str, float]:
        """Add the gradients of one batch, and return its losses."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            losses, codes = self.stage(waveform)
        self.usage.see(codes, self.step)
        (torch.stack(list(losses.values())).sum() / self.recipe.accumulate).backward()
        return {name: loss.item() for name, loss in losses.items()}

    # -- the run ----------------------------------------------------------------------------------------------------

    def _shares(self) -> Tensor:
        return torch.zeros(0) if self._fits else self.usage.shares(self.step - 1)

    def _close(self) -> None:
        self.batches.close()

    def save(self) -> None:
        """Write the state and the codec, whose weights are the averaged ones."""
        if self.rank:
            return
        write_exact(self._state(), self.folder / "states", self.recipe.saving.keep)
        weights = {k.removeprefix("codec."): v for k, v in self.average.state_dict().items() if k.startswith("codec.")}
        saved = SemantiCodec.unloaded(self.codec.config, self.codec.name)
        load_exactly(saved, weights, "the trained weights", take=True)
        saved.save(self.folder / "codec")

    def _state(self) -> dict[str, Any]:
        """What a resumed run needs; what no stage trains comes from where it came from."""
        return {
            "stage": self.recipe.diffusion.stage, "step": self.step, "started": self.started,
            "learned": {name: p for name, p in self.stage.named_parameters() if p.requires_grad},
            "buffers": dict(self.codec.named_buffers()), "gathered": self.codec.semantic._gathered,
            "average": self.average.weights, "optimizer": self.optimizer.state_dict(), "usage": self.usage.state(),
            "batches": self.batches.position,
        }  # fmt: skip

    @torch.no_grad()
    def _load(self) -> None:
        folder = self.folder / "states"
        state = read_newest(folder)
        if state is None or state.get("stage") != self.recipe.diffusion.stage:
            raise TrainingError(f"{folder} holds no state of this stage that can be read: leave out --resume to start anew")
        for own, theirs in ((dict(self.stage.named_parameters()), "learned"), (dict(self.codec.named_buffers()), "buffers"),
                            (self.average.weights, "average")):  # fmt: skip
            for name, value in state[theirs].items():
                own[name].copy_(value)
        self.codec.semantic._gathered = list(state["gathered"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.usage.load(state["usage"])
        self.step, self.started = state["step"], state["started"]
        self.batches.seek(state["batches"])
        self.say(f"resumed at step {self.step}")
