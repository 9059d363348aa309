"""What a run says: a progress bar, a line of figures, a file of them, and TensorBoard."""

import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..codecs.errors import MissingDependencyError, how_to_install


class Journal:
    """Figures of a run, in `log.jsonl`, in TensorBoard, and on stderr.

    Args:
        folder: of the run.
        steps: in all, for the time that is left.
        step: that the run is at.
        quiet: say nothing at all, as all processes of a job but the first.
    """

    def __init__(self, folder: Path, steps: int, step: int = 0, quiet: bool = False) -> None:
        self.folder, self.quiet = folder, quiet
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self.began, self.step_before = time.monotonic(), step
        self.bar, self.task = (None, None) if quiet else _bar(steps, step)
        self.board = None if quiet else _board(folder, step)

    def add(self, figures: dict[str, float]) -> None:
        """Take in the figures of a step."""
        for name, value in figures.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """Return the means of what was taken in since the last time, and forget it."""
        means = {name: self.sums[name] / self.counts[name] for name in sorted(self.sums)}
        self.sums, self.counts = {}, {}
        return means

    def tick(self, step: int) -> None:
        """Move the progress bar."""
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=step)

    def write(self, step: int, figures: dict[str, float], usage: Tensor) -> None:
        """Write one line of figures, and the share of each codebook that is in use."""
        if self.quiet:
            return
        now = time.monotonic()
        pace = (step - self.step_before) / max(1e-9, now - self.began)
        self.began, self.step_before = now, step
        row = {"step": step, **figures, **({"usage": float(usage.min())} if len(usage) else {}), "steps_per_second": pace}
        row = {name: value if isinstance(value, int) else float(f"{value:.5g}") for name, value in row.items()}
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(row) + "\n")
        self.say("  ".join(f"{name} {value:g}" for name, value in row.items()))
        if self.board is not None:
            for name, value in row.items():
                self.board.add_scalar(name, value, step)
            for number, share in enumerate(usage.tolist()):
                self.board.add_scalar(f"usage/codebook_{number}", share, step)

    def show(self, step: int, sample_rate: int, target: Tensor, estimate: Tensor) -> None:
        """Put examples [batch, channels, samples] and their spectrograms into TensorBoard."""
        if self.board is None:
            return
        for number, pair in enumerate(zip(target, estimate, strict=True)):
            for name, waveform in zip(("original", "decoded"), pair, strict=True):
                mono = waveform.mean(0).clamp(-1, 1).cpu()
                self.board.add_audio(f"{name}/{number}", mono, step, sample_rate)
                self.board.add_image(f"{name}/{number}", spectrogram(mono), step)

    def say(self, line: str) -> None:
        """Print a line on stderr, above the progress bar where there is one."""
        if self.quiet:
            return
        with suppress(OSError):  # where the terminal is gone, the run is still to be saved
            if self.bar is not None:
                self.bar.console.print(line, highlight=False, markup=False, soft_wrap=True)
            else:
                print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """End bar and board."""
        if self.bar is not None:
            self.bar.stop()
        if self.board is not None:
            self.board.close()


def spectrogram(waveform: Tensor, window: int = 1024) -> Tensor:
    """Return a picture [1, bins, frames] of audio [samples], 80 dB from black to white, high frequencies on top."""
    padded = torch.nn.functional.pad(waveform, (0, max(0, window - len(waveform))))
    power = torch.stft(padded, window, window // 4, window=torch.hann_window(window), return_complex=True).abs().square()
    level = 10 * (power + 1e-10).log10()
    return ((level - level.max()) / 80 + 1).clamp(0, 1).flip(0)[None]


def _bar(steps: int, step: int) -> tuple[Any, Any]:
    if not sys.stderr.isatty():
        return None, None
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = [TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()]
    bar = Progress(*columns, console=Console(stderr=True))
    bar.start()
    return bar, bar.add_task("training", total=steps, completed=step)


def _board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingDependencyError(f"tensorboard is not installed: {how_to_install('train')}") from error
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
