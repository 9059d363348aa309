"""Training a speech model by transcripts: a teacher of one's own, for a first codebook that says what is said.

A conformer as in w2v-BERT 2.0, of whatever size, learns to spell by CTC. Its hidden states then tell sounds of speech apart and
speakers little, which is what lessons (`distil` of a recipe) want of a teacher.

Sources: Graves et al., "Connectionist Temporal Classification", 2006; Gulati et al., "Conformer", 2020; Park et al.,
"SpecAugment", 2019, whose masks transformers' model draws.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..codecs.checkpoint import save_weights
from ..codecs.errors import CheckpointError
from ..codecs.teachers import SAMPLE_RATE, load_transformers, part_of, transformers_settings
from .data.items import make_items
from .data.utterances import GAP, Transcripts, Utterances
from .errors import TrainingError
from .model_run import ModelRun
from .recipe import Recipe

MOST_APART = 64  # recordings held apart that are spelled


class HearingTraining(ModelRun):
    """A run of a recipe with a `hearing` table.

    Args:
        recipe: of which hearing, data, steps, batch, accumulate, seconds (of the longest recording that is used), optimizer,
            saving, precision, ema and seed count.
        folder: of the run.
        name: not used; a teacher is called by its folder.
        device: "cpu", "cuda" or "cuda:N"; under torchrun every process has a GPU of its own.

    Raises:
        CheckpointError: if a setting of the model is unknown or makes no sense.
        DataError: if there are no transcripts.
        MissingDependencyError: if transformers is not installed.
    """

    mark, what = "hearing", "teacher"

    def __init__(self, recipe: Recipe, folder: Path, name: str = "", device: str = "cpu") -> None:
        super().__init__(recipe, folder, device)
        items = make_items(recipe.data, SAMPLE_RATE, 1, recipe.seconds, recipe.seed, self.say)
        self.spoken = Transcripts(items, recipe.hearing.apart, self.say)
        self.say(
            f"{len(self.spoken.learned)} recordings to learn from, {len(self.spoken.apart)} held apart, "
            f"{len(items.recordings) - len(self.spoken.learned) - len(self.spoken.apart)} without a transcript or too long"
        )
        self._begin(self._build())

    def _build(self) -> Any:
        own = {"vocab_size": len(self.spoken.symbols), "pad_token_id": 0, "layerdrop": 0.0, **self.recipe.hearing.settings}
        try:
            return part_of(load_transformers(), "Wav2Vec2BertForCTC")(transformers_settings("wav2vec2-bert", own))
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"hearing.settings describe no Wav2Vec2Bert: {str(error).splitlines()[0][:200]}") from None

    def _gradients(self) -> float:
        """Add up the gradients of a step, and return its loss, in nats per letter."""
        self.model.train()
        drawn = np.random.SeedSequence([self.recipe.seed, self.step * self.world + self.rank])
        np.random.seed(drawn.generate_state(1))  # where transformers' masks come from
        first = self.step * self.recipe.accumulate
        numbers = [(first + part) * self.world + self.rank for part in range(self.recipe.accumulate)]
        return sum(self._accumulate(self.spoken.batch(number, self.recipe.batch)) for number in numbers)

    def _accumulate(self, batch: Utterances) -> float:
        """Add the gradients of one batch, and return its share of the step's loss."""
        scores = self._scores(self.model, batch)
        frames, counts = batch.frames.to(self.device), batch.counts.to(self.device)
        nats = F.ctc_loss(
            scores.transpose(0, 1), batch.letters.to(self.device), frames, counts, reduction="sum", zero_infinity=True
        )
        loss = nats / counts.sum() / self.recipe.accumulate
        loss.backward()
        return loss.item()

    def _scores(self, model: Any, batch: Utterances) -> Tensor:
        """Return log probabilities [batch, frames, symbols]."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            found = model(batch.spectra.to(self.device), attention_mask=batch.heard.long().to(self.device)).logits
        return found.float().log_softmax(-1)

    @torch.no_grad()
    def error(self, model: Any) -> float:
        """Return how many letters in a hundred a model gets wrong in the recordings held apart, by its likeliest path."""
        wrong, letters, apart = 0, 0, self.spoken.apart[:MOST_APART]
        for first in range(0, len(apart), self.recipe.batch):
            batch = self.spoken.gather(apart[first : first + self.recipe.batch])
            best = self._scores(model, batch).argmax(-1).cpu()
            for row, frames, told in zip(best, batch.frames.tolist(), batch.letters.split(batch.counts.tolist()), strict=True):
                wrong += edits(spelled(row[:frames].tolist()), told.tolist())
                letters += len(told)
        return 100 * wrong / letters

    def _write(self, weights: dict[str, Tensor], folder: Path) -> None:
        """Write the teacher and its letters as transformers does, and say what it gets wrong."""
        best = self._build().eval().to(self.device)
        best.load_state_dict(weights)
        best.config.architectures = [type(best).__name__]
        best.config.save_pretrained(folder)
        self._save_tokenizer(folder)
        save_weights(best.state_dict(), folder / "model.safetensors")
        self.say(f"step {self.step}: {self.error(best):.1f} % of letters wrong in recordings held apart")

    def _save_tokenizer(self, folder: Path) -> None:
        with TemporaryDirectory() as other:
            (path := Path(other) / "vocab.json").write_text(json.dumps(self.spoken.places), encoding="utf-8")
            blank = self.spoken.symbols[0]
            tokenizer = load_transformers().Wav2Vec2CTCTokenizer(
                str(path), unk_token=blank, pad_token=blank, bos_token=None, eos_token=None, word_delimiter_token=GAP
            )
            tokenizer.save_pretrained(folder)

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "symbols": list(self.spoken.symbols)}

    def _check(self, state: dict[str, Any]) -> None:
        if state["symbols"] != list(self.spoken.symbols):
            raise TrainingError("the state is of a teacher that knows other letters: resume with the data that it began with")


def spelled(path: Sequence[int], blank: int = 0) -> list[int]:
    """Return the symbols of a path [frames]: each run of one symbol counts once, and blanks not at all."""
    return [now for before, now in zip([blank, *path], path, strict=False) if now not in (before, blank)]


def edits(guess: Sequence[int], told: Sequence[int]) -> int:
    """Return how many symbols must be put in, taken out or replaced to make one sequence of another (Levenshtein, 1966)."""
    row = list(range(len(told) + 1))
    for number, symbol in enumerate(guess, 1):
        before, row[0] = row[0], number
        for place, other in enumerate(told, 1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (symbol != other))
    return row[-1]
