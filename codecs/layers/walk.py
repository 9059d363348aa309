"""Passing through layers in order, whole signals or piece by piece, and what their outputs see."""

from collections.abc import Iterable, Iterator

from torch import Tensor, nn

from .lstm import SkipLSTM


class Walk:
    """One pass through layers in order: of whole signals, or of the next piece with a state per layer that needs one."""

    def __init__(self, state: list[Tensor] | None = None, final: bool = False) -> None:
        self.before: Iterator[Tensor] | None = None if state is None else iter(state)
        self.after: list[Tensor] = []
        self.final = final

    def __call__(self, layer: nn.Module, x: Tensor, **options: Tensor | nn.Module) -> Tensor:
        """Return the layer's output."""
        if self.before is None or not has_state(layer):
            return layer(x, **options)
        y, state = layer.step(x, next(self.before), final=self.final, **options)  # type: ignore[operator]
        self.after.append(state)
        return y


def span_of(layers: Iterable[nn.Module], first: int, last: int) -> tuple[int, int] | None:
    """Return the first and last input that outputs `first` to `last` of a chain see, or None where they see everything."""
    for layer in reversed(list(layers)):
        if isinstance(layer, SkipLSTM) or getattr(layer, "norm", None) is not None:
            return None
        first, last = layer.span(first, last)  # type: ignore[operator]
    return first, last


def has_state(layer: nn.Module) -> bool:
    """Say whether pieces of a signal pass the layer with a state."""
    return isinstance(layer, SkipLSTM) or bool(getattr(layer, "context", 0))
