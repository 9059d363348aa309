"""Writing with a model: columns one by one, until it ends the recording or there are as many frames as were asked for."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ...codecs.errors import ShapeError
from ..stepping import Stepper
from .columns import ColumnModel
from .sampling import Sampling


@torch.inference_mode()
def write(
    model: ColumnModel,
    steps: Stepper,
    most: int,
    told: str | None = None,
    prompt: Tensor | None = None,
    sampling: Sampling | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """Yield columns [1, rows], each of which the caller pushes before the next: to `steps`, or to what owns it.

        decoder = PatternDecoder(codec, model.pattern)
        for column in write(model, decoder.steps, most=500):
            speaker.write(decoder.push(column))
        speaker.write(decoder.flush())

    Args:
        model: that writes.
        steps: the pattern's stepper, of one item, at its beginning. Where its `frames` are set, the model cannot end earlier.
        most: frames in all, prompt included, where the model ends by itself.
        told: a label or text.
        prompt: codes [1, codebooks, n] that the recording begins with, and that come out first.
        sampling: how codes are drawn.
        generator: of random numbers, on the CPU.

    Raises:
        ShapeError: if the prompt does not fit.
    """
    sampling = sampling or Sampling()
    prompt = _checked(model, prompt, steps.frames or most)
    reading = model.begin([told, None] if sampling.guided else [told])
    hidden = reading.push(_twice(steps.sequence, sampling))
    while True:
        if steps.frames is None and steps.step - model.pattern.initial >= most:
            steps.frames = most
        if steps.frames is not None and steps.step >= model.pattern.n_columns(steps.frames):
            return
        column = reading.choose(hidden, _chooser(steps, prompt, sampling, generator))[:1]
        yield column
        hidden = reading.push(_twice(column[..., None], sampling))


@torch.inference_mode()
def write_codes(
    model: ColumnModel,
    most: int,
    told: str | None = None,
    prompt: Tensor | None = None,
    sampling: Sampling | None = None,
    generator: torch.Generator | None = None,
    frames: int | None = None,
) -> Tensor:
    """Return codes [1, codebooks, frames] of a recording; arguments as of `write`, `frames` for one of a certain length."""
    steps = model.pattern.generator(1, frames)
    made = [steps.none(), *(steps.push(column) for column in write(model, steps, most, told, prompt, sampling, generator))]
    return torch.cat(made, dim=-1)


def _checked(model: ColumnModel, prompt: Tensor | None, most: int) -> Tensor:
    """Return the prompt, one of no frames where there is none."""
    books = model.pattern.codebooks
    if prompt is None:
        return torch.zeros(1, books, 0, dtype=torch.int64)
    if tuple(prompt.shape[:2]) != (1, books) or prompt.shape[-1] > most:
        raise ShapeError(
            f"a prompt is [1, {books}, at most {most} frames]; got {list(prompt.shape)}: cut it, or ask for more frames"
        )
    model.pattern.check_range(prompt)
    return prompt.cpu()  # where the other codes are drawn


def _twice(columns: Tensor, sampling: Sampling) -> Tensor:
    return columns.repeat(2, 1, 1) if sampling.guided else columns


def _chooser(steps: Stepper, prompt: Tensor, sampling: Sampling, generator: torch.Generator | None):
    """Return what chooses each row of the next column: the prompt's code, what the pattern fixes, or one that is drawn."""
    pattern, given = steps.pattern, prompt.shape[-1]
    at = pattern.codebooks_at(steps.step, steps.frames)
    starts = [pattern.initial + shift for shift in pattern.shifts]
    ids = pattern.allowed_ids(steps.step, steps.frames)

    def choose(row: int, logits: Tensor) -> Tensor:
        q, allowed = at[row], ids[row]
        frame = steps.step - starts[q] if q >= 0 else -1
        if 0 <= frame < given:
            chosen = prompt[:, q, frame]
        elif len(allowed) == 1:
            chosen = torch.tensor([allowed.start])
        else:
            ends = row == 0 and steps.frames is None and frame > 0
            chosen = sampling.choose(sampling.guide(logits)[:, : allowed.stop + ends], generator)
        return chosen.repeat(2) if sampling.guided else chosen

    return choose
