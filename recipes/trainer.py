"""The trainer of codecs: one step, and what is shown of it beside the figures.

A step passes a batch through the codec, takes the gradient of all losses on the waveform at the waveform (weighed, or
balanced), sends it back through the codec together with what the quantizer and the teachers say, and moves the weights.
"""

import dataclasses
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..codecs.base import Codec
from ..quantizers.base import Quantized
from ..quantizers.multiscale import MultiScaleQuantized
from .average import Average
from .codebooks import Usage, draw_depths, rows_wanted, set_options, settle, start_codebooks
from .critics import Critics
from .data.items import make_items
from .data.loader import Batch, Batches
from .errors import TrainingError
from .journal import Journal
from .losses import Balancer
from .models import Trainee, build_codec, fill_teacher, initial_codec, let_learn, mark_semantic, norm_weights, save_codec
from .recipe import OptimizerSettings, Recipe
from .reconstruction import Reconstruction
from .run import Run
from .state import load_state, save_state
from .teaching import Teaching

EXAMPLES = 4  # items that TensorBoard gets


class Trainer(Run):
    """A run of a recipe.

    Args:
        recipe: what to do.
        folder: of the run.
        name: of the codec where the recipe has none.
        device: "cpu", "cuda" or "cuda:N"; under torchrun every process has a GPU of its own.
    """

    def __init__(self, recipe: Recipe, folder: Path, name: str = "codec", device: str = "cpu") -> None:
        super().__init__(recipe, folder, device)
        codec = self._codec(name).train()
        spec = codec.spec
        self.items = make_items(recipe.data, spec.sample_rate, spec.channels, recipe.seconds, recipe.seed, self.say)
        self.teaching = Teaching(recipe.distil, codec, self.items, recipe.data.cache, str(self.device), self.say)
        mark_semantic(codec, {subject for _, subject in self.teaching.widths.values()})
        self.model = self._model(codec)
        self.reconstruction = Reconstruction(recipe.losses, spec.sample_rate).to(self.device)
        self.reconstruction.check_domains({recording.domain for recording in self.items.recordings})
        self.critics = self._critics()
        self.balancer = self._balancer()
        self.optimizer = self._adamw(self.model, fused=True)
        self.critics_optimizer = None if self.critics is None else self._adamw(self.critics, fused=True)
        self.average = Average(self.model, recipe.ema)
        self.usage = Usage(spec.codebook_sizes, recipe.watch.window, self.device)
        workers, timeout = recipe.data.workers, recipe.data.timeout
        self.batches = Batches(self.items, recipe.batch, 0, self.rank, self.world, workers, timeout, self.say)
        self.started = bool(recipe.init)

    # -- building ---------------------------------------------------------------------------------------------------

    def _codec(self, name: str) -> Codec:
        if self.recipe.init:
            return initial_codec(self.recipe.init, self.recipe.codec.name)
        codec = build_codec(self.recipe.codec, name)
        fill_teacher(codec, self.recipe.codec.teacher)
        return codec

    def _model(self, codec: Codec) -> Trainee:
        model = Trainee(codec, self.teaching.widths)
        let_learn(codec, self.recipe.learns)
        if self.recipe.codec.weight_norm:
            norm_weights(codec)
        set_options(model.quantizer, self.recipe.quantizer.options)
        if self.recipe.init:
            settle(model)
        if self.recipe.compile:
            for part in ("encoder", "decoder", "backbone"):
                if isinstance(inner := getattr(codec, part, None), nn.Module):
                    inner.compile()
        return model.to(self.device)

    def _critics(self) -> Critics | None:
        if not self.recipe.adversarial.discriminators:
            return None
        spec = self.model.codec.spec
        return Critics(self.recipe.adversarial, spec.sample_rate, spec.channels).to(self.device)

    def _balancer(self) -> Balancer | None:
        if self.recipe.balancer is None:
            return None
        return Balancer(self._weights(), **self.recipe.balancer)

    def _weights(self) -> dict[str, float]:
        return {**self.reconstruction.weights, **({} if self.critics is None else self.critics.shares)}

    # -- one step ---------------------------------------------------------------------------------------------------

    def take_step(self) -> dict[str, float]:
        """Take one step and return what it measured.

        Raises:
            TrainingError: if a loss or a gradient is not finite, or a codebook has collapsed.
        """
        torch.manual_seed((self.recipe.seed << 32) + self.step)  # a step draws the same whether it is resumed or not
        if self._quantizes and not self.started:
            self._start_codebooks()
        adversarial = self.critics is not None and self.step >= self.recipe.adversarial.from_step
        learns = adversarial and self.critics is not None and self.critics.draw()
        sums: dict[str, float] = {}
        for _ in range(self.recipe.accumulate):
            for name, value in self._accumulate(self.batches.next(), adversarial, learns).items():
                sums[name] = sums.get(name, 0.0) + value / self.recipe.accumulate
        own, theirs = self.recipe.optimizer, self.recipe.adversarial
        sums["gradient"] = self._move_module(self.model, self.optimizer, own)
        if learns and self.critics is not None and self.critics_optimizer is not None:
            rate, clip = theirs.learning_rate or own.learning_rate, own.clip if theirs.clip is None else theirs.clip
            settings = dataclasses.replace(own, learning_rate=rate, clip=clip)
            sums["critics_gradient"] = self._move_module(self.critics, self.critics_optimizer, settings)
        self.average.follow(self.step)
        self.step += 1
        return sums

    @property
    def _quantizes(self) -> bool:
        return self.step >= self.recipe.quantizer.from_step

    def _accumulate(self, batch: Batch, adversarial: bool, learns: bool) -> dict[str, float]:
        """Add the gradients of one batch, and return its losses."""
        target = batch.waveform.to(self.device, non_blocking=True)
        passed = self._pass(target)
        output = passed.waveform.detach().requires_grad_()  # where the losses on the waveform meet
        domains = [self.items.recordings[number].domain for number in batch.recordings]
        terms = self.reconstruction(output, target, domains)
        judged = None
        if adversarial and self.critics is not None:
            with self._precision():
                judged = self.critics.judge(target, output)
            terms.update(self.critics.fooling(*judged))
        inner = self._inner_losses(passed, batch, target)
        figures = self._figures({**terms, **inner})
        self._backward(terms, inner, output, passed.waveform)
        if learns and judged is not None and self.critics is not None:
            figures["critics"] = self.critics.learn(*judged, share=1 / self.recipe.accumulate)
        return figures

    def _pass(self, target: Tensor) -> Any:
        settings, batch = self.recipe.quantizer, len(target)
        depths = plain = None
        if self._quantizes:
            depths = draw_depths(len(self.usage.sizes), batch, settings.full_depth, self.rank, self.world)
            drawn = torch.rand(batch * self.world)[self.rank * batch : (self.rank + 1) * batch]
            plain = None if settings.share >= 1 else (drawn >= settings.share).to(self.device)
        with self._precision():
            return self.model(target, depths, self._quantizes, plain)

    def _inner_losses(self, passed: Any, batch: Batch, target: Tensor) -> dict[str, Tensor]:
        """Losses of the quantizer and the teachers, weighed."""
        quantized: Quantized | MultiScaleQuantized | None = passed.quantized
        if quantized is None:
            return {}
        self.usage.see(quantized.codes, self.step)
        settings = self.recipe.quantizer
        losses = {
            name: weight * getattr(quantized, name)
            for name in ("commitment", "codebook", "entropy")
            if (weight := getattr(settings, name)) and getattr(quantized, name).requires_grad
        }
        return losses | self.teaching(passed.taught, batch, target)

    def _backward(self, terms: dict[str, Tensor], inner: dict[str, Tensor], output: Tensor, waveform: Tensor) -> None:
        share = 1 / self.recipe.accumulate
        roots: list[Tensor] = [loss for loss in inner.values() if loss.requires_grad]
        grads: list[Tensor] = [torch.full_like(loss, share) for loss in roots]
        if terms:
            if self.balancer is not None:
                self.balancer.backward(terms, output)
                gradient = output.grad
            else:
                weights = self._weights()
                total = torch.stack([weights[name] * loss for name, loss in terms.items()]).sum()
                (gradient,) = torch.autograd.grad(total, output, retain_graph=True)
            assert gradient is not None
            roots, grads = [*roots, waveform], [*grads, share * gradient]
        torch.autograd.backward(roots, grads)

    def _move_module(self, module: nn.Module, optimizer: torch.optim.Optimizer, settings: OptimizerSettings) -> float:
        """Let a module take its step, and return the norm of its gradient before it was clipped."""
        norm = self._move(list(module.parameters()), self.step, optimizer, settings)
        if not math.isfinite(norm):
            raise TrainingError(self._explain(f"the gradient of the {type(module).__name__.lower()} is {norm}"))
        return norm

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16")

    def _figures(self, losses: dict[str, Tensor]) -> dict[str, float]:
        """Return losses as numbers, fetched from the device at once.

        Raises:
            TrainingError: if one is not finite.
        """
        if not losses:
            return {}
        figures = dict(zip(losses, torch.stack([loss.detach().float() for loss in losses.values()]).tolist(), strict=True))
        if wild := [name for name, value in figures.items() if not math.isfinite(value)]:
            raise TrainingError(self._explain(f"{', '.join(wild)} became {figures[wild[0]]}"))
        return figures

    def _explain(self, what: str) -> str:
        half = " or train with precision=fp32" if self.recipe.precision == "bf16" else ""
        return (
            f"{what} at step {self.step}, and nothing was learned from it: lower optimizer.learning_rate or "
            f"optimizer.clip{half}, and go on from the last state with --resume"
        )

    def _start_codebooks(self) -> None:
        """Set the codebooks by k-means on latents of as many batches as it takes."""
        self.started = True
        wanted = rows_wanted(self.model.quantizer)
        if not (wanted and self.recipe.quantizer.kmeans):
            return
        rows: list[Tensor] = []
        position = self.batches.position
        while sum(map(len, rows)) < wanted:
            latents = self.model.encode(self.batches.next().waveform.to(self.device)).detach()
            rows.append(latents.float().transpose(1, 2).flatten(0, 1))
        self.batches.seek(position)
        start_codebooks(self.model.quantizer, torch.cat(rows).T[None])

    # -- the run ----------------------------------------------------------------------------------------------------

    def _tell(self, journal: Journal) -> None:
        super()._tell(journal)
        saving, watch, step = self.recipe.saving, self.recipe.watch, self.step - 1
        if self.step % saving.log == 0 and step >= max(watch.from_step, self.recipe.quantizer.from_step + watch.window):
            self.usage.check(step, watch.least_usage)
        if saving.audio and self.step % saving.audio == 0:
            self._show(journal)

    def _shares(self) -> Tensor:
        step = self.step - 1
        return self.usage.shares(step) if step >= self.recipe.quantizer.from_step else torch.zeros(0)

    def _load(self) -> None:
        self.say(f"resumed from {load_state(self, self.folder / 'states')} at step {self.step}")

    def _close(self) -> None:
        self.batches.close()

    @torch.no_grad()
    def _show(self, journal: Journal) -> None:
        """Examples through the codec as it would be saved; the same items every time."""
        if self.rank:
            return
        waveforms = [item.waveform for n in range(EXAMPLES) if (item := self.items[n]).waveform is not None]
        if waveforms:
            codec = self.codec().to(self.device)
            target = torch.stack(waveforms).to(self.device)
            journal.show(self.step, codec.spec.sample_rate, target, codec(target))

    def codec(self) -> Any:
        """Return the codec with averaged weights, as it is saved."""
        return save_codec(self.model, self.average.state_dict())

    def save(self) -> None:
        """Write the states and the codec."""
        if self.rank == 0:
            save_state(self, self.folder / "states")
            self.codec().save(self.folder / "codec")
