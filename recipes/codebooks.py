"""Codebooks in training: their start by k-means, the depths that items use, and what part of them is in use."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

from ..quantizers.base import sample_depths, to_rows
from ..quantizers.ema import MovingCodebooks
from ..quantizers.grouped import Grouped
from ..quantizers.split import Branch, SplitResidualVQ
from .errors import RecipeError, TrainingError

ROWS_PER_CODE = 10  # that k-means is given


def moving_codebooks(module: nn.Module) -> dict[str, MovingCodebooks]:
    """Return the quantizers with moving averages, by name."""
    return {name: part for name, part in module.named_modules() if isinstance(part, MovingCodebooks)}


@torch.no_grad()
def settle(module: nn.Module) -> None:
    """Give codebooks that come without statistics, as saved ones do, those of a batch that uses all codes alike."""
    for book in moving_codebooks(module).values():
        book.counts.fill_(1)
        book.sums.copy_(book.codebooks)


def set_options(quantizer: nn.Module, options: dict[str, Any]) -> None:
    """Set attributes of training, such as `decay`, on every quantizer inside that has them.

    Raises:
        RecipeError: if none has one.
    """
    for key, value in options.items():
        parts = [part for part in quantizer.modules() if key in vars(part)]
        if not parts:
            raise RecipeError(f"quantizer.options.{key} is unknown to {type(quantizer).__name__}")
        for part in parts:
            setattr(part, key, type(vars(part)[key])(value))


def rows_wanted(quantizer: nn.Module) -> int:
    """Return how many latent vectors k-means should have."""
    return ROWS_PER_CODE * max((book.codebooks.shape[1] for book in moving_codebooks(quantizer).values()), default=0)


@torch.no_grad()
def start_codebooks(quantizer: nn.Module, latents: Tensor) -> None:
    """Set every moving codebook by k-means on latents [1, dim, vectors], on all machines alike."""
    for book, inside in _with_inputs(quantizer, latents):
        book.start(to_rows(inside, book.dim))
        if dist.is_available() and dist.is_initialized():
            for tensor in (book.codebooks, book.counts, book.sums):
                dist.broadcast(tensor, 0)


def _with_inputs(quantizer: nn.Module, latents: Tensor) -> Iterator[tuple[MovingCodebooks, Tensor]]:
    if isinstance(quantizer, MovingCodebooks):
        yield quantizer, latents
    elif isinstance(quantizer, SplitResidualVQ):
        yield from _with_inputs(quantizer.semantic, latents)
        yield from _with_inputs(quantizer.acoustic, latents)
    elif isinstance(quantizer, Branch):
        yield quantizer.quantizer, quantizer.enter(latents)
    elif isinstance(quantizer, Grouped):
        for group, part in zip(quantizer.groups, latents.chunk(len(quantizer.groups), 1), strict=True):
            yield from _with_inputs(group, part)


def draw_depths(codebooks: int, batch: int, full: float, rank: int, world: int) -> Tensor | None:
    """Return this machine's part of the depths drawn for the batches of all, or None where every item uses all codebooks."""
    if full >= 1 or codebooks == 1:
        return None
    return sample_depths(batch * world, codebooks, full)[rank * batch : (rank + 1) * batch]


class Usage:
    """Which codes were chosen in the last steps; a codebook of few codes in use is a reason to stop.

    Args:
        sizes: of the codebooks.
        window: steps that are remembered.
        device: of the codes.
    """

    def __init__(self, sizes: tuple[int, ...], window: int, device: torch.device | str = "cpu") -> None:
        self.sizes, self.window = sizes, window
        # the step at which each code was chosen last
        self.last = [torch.full((size,), -window - 1, dtype=torch.int32, device=device) for size in sizes]
        self.rows = [0] * len(sizes)

    def see(self, codes: Tensor | tuple[Tensor, ...], step: int) -> None:
        """Note the codes [batch, codebooks, frames] of a step; a tuple where rates differ."""
        streams = codes if isinstance(codes, tuple) else (codes,)
        books = [book for stream in streams for book in stream.detach().transpose(0, 1).flatten(1)]
        for number, book in enumerate(books):
            self.last[number][book] = step
            self.rows[number] += book.numel()

    def shares(self, step: int) -> Tensor:
        """Return the share [codebooks] of each codebook that was chosen in the last `window` steps, over all machines."""
        used = [self._over_machines(last > step - self.window) for last in self.last]
        return torch.tensor([float(book.float().mean()) for book in used])

    def check(self, step: int, least: float) -> None:
        """Stop where a codebook is hardly in use, given that it could be.

        Raises:
            TrainingError: that names it and what to try.
        """
        for number, (share, size, rows) in enumerate(zip(self.shares(step), self.sizes, self.rows, strict=True)):
            if rows >= ROWS_PER_CODE * size and float(share) < least:
                raise TrainingError(
                    f"codebook {number} has collapsed: {100 * float(share):.2g} % of its {size} codes were used in the last "
                    f"{self.window} steps at step {step}; start it later (quantizer.from_step), raise "
                    "quantizer.options.revive_below or lower optimizer.learning_rate, and resume from the last state"
                )

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        return {"last": [part.clone() for part in self.last], "rows": list(self.rows)}

    def load(self, state: dict[str, Any]) -> None:
        """Take up where `state` stood."""
        for ours, theirs in zip(self.last, state["last"], strict=True):
            ours.copy_(theirs)
        self.rows = list(state["rows"])

    def _over_machines(self, used: Tensor) -> Tensor:
        if not (dist.is_available() and dist.is_initialized()):
            return used
        counts = used.int()
        dist.all_reduce(counts, dist.ReduceOp.MAX)
        return counts.bool()
