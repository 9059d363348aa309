"""Fitting the centres of a units codec: k-means in small batches over a speech model's features, nothing by gradient."""

import signal
import sys
from pathlib import Path
from typing import Any

import torch

from ..codecs.files import atomic_path
from ..quantizers.kmeans import KMeansTokenizer
from . import machines
from .data.items import make_items
from .data.loader import Batches
from .errors import RecipeError, TrainingError
from .journal import Journal
from .models import build_codec, fill_teacher
from .recipe import Recipe, to_yaml
from .signals import on_end_signals
from .state import write_file

FAMILY = "units"
STATE = "step.pt"


class Clustering:
    """A run of a recipe of units, with the face of a `Trainer`.

    Args:
        recipe: of which codec, data, steps, batch, seconds, saving and seed count.
        folder: of the run.
        name: of the codec where the recipe has none.
        device: of the speech model and the centres.

    Raises:
        RecipeError: if it is one of several processes.
    """

    rank = 0

    def __init__(self, recipe: Recipe, folder: Path, name: str = "units", device: str = "cpu") -> None:
        if machines.join(device)[1] > 1:
            raise RecipeError("k-means fits units in one process: run it without torchrun")
        self.recipe, self.folder, self.device = recipe, folder, device
        self.codec: Any = build_codec(recipe.codec, name).eval()
        fill_teacher(self.codec, recipe.codec.teacher)
        self.codec.to(device)
        spec, data = self.codec.spec, recipe.data
        items = make_items(data, spec.sample_rate, spec.channels, recipe.seconds, recipe.seed, self.say)
        self.batches = Batches(items, recipe.batch, 0, workers=data.workers, timeout=data.timeout, say=self.say)
        self.step, self.stopping, self.ended_by = 0, False, int(signal.SIGTERM)

    def take_step(self) -> dict[str, float]:
        """Move the centres to one batch; return its mean squared distance to them, once there are any."""
        torch.manual_seed((self.recipe.seed << 32) + self.step)
        quantizer: KMeansTokenizer = self.codec.quantizer
        heard = self.batches.next().waveform.to(self.device)
        features = self.codec.teacher(heard[:, 0], self.codec.spec.sample_rate).transpose(1, 2).float()
        quantizer.partial_fit(features)
        self.step += 1
        return {"distance": quantizer(features).commitment.item()} if quantizer.fitted else {}

    def run(self, resume: bool = False) -> int:
        """Fit to the recipe's last step, or until SIGTERM; return the step reached.

        Raises:
            TrainingError: if all steps gave too few features for centres, or there is nothing to go on from.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if resume:
            self._load()
        with atomic_path(self.folder / "recipe.yaml") as partial:
            partial.write_text(to_yaml(self.recipe), encoding="utf-8")
        journal = Journal(self.folder, self.recipe.steps, self.step)
        try:
            with on_end_signals(self._stop):
                self._loop(journal)
        finally:
            self.batches.close()
            journal.close()
        self._finish()
        return self.step

    def _loop(self, journal: Journal) -> None:
        saving = self.recipe.saving
        while self.step < self.recipe.steps and not self.stopping:
            journal.add(self.take_step())
            journal.tick(self.step)
            if self.step % saving.log == 0:
                journal.write(self.step, journal.means(), torch.zeros(0))
            if self.step % saving.every == 0:
                self._save()

    def _finish(self) -> None:
        self._save()
        if stopped := self.step < self.recipe.steps:
            self.say(f"stopped at step {self.step}, and saved: go on with --resume")
        if not self.codec.quantizer.fitted:
            if stopped:
                return
            raise TrainingError(
                f"{self.step} steps gave fewer features than the {self.codec.quantizer.start_rows} "
                "that the first centres take: raise steps or batch"
            )
        self.codec.save(self.folder / "codec")

    def _save(self) -> None:
        states = self.folder / "states"
        states.mkdir(exist_ok=True)
        quantizer: KMeansTokenizer = self.codec.quantizer
        state = {"step": self.step, "quantizer": quantizer.state_dict(), "gathered": quantizer._gathered}
        write_file(state, states / STATE)

    def _load(self) -> None:
        path = self.folder / "states" / STATE
        if not path.is_file():
            raise TrainingError(f"{path} is missing: leave out --resume to start anew")
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.codec.quantizer.load_state_dict(state["quantizer"])
        self.codec.quantizer._gathered = list(state["gathered"])
        self.step = state["step"]
        self.batches.seek(self.step)

    def _stop(self, number: int) -> None:
        self.stopping, self.ended_by = True, number

    def say(self, line: str) -> None:
        """Print a line on stderr."""
        print(line, file=sys.stderr, flush=True)
