"""What a layer keeps of its weights in an order that the CPU's path reads, until they change."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from torch import Tensor, nn

from ...kernels import native

Pack = TypeVar("Pack")


class Packs(nn.Module):
    """A layer that keeps such a pack; copies and files of the layer hold none."""

    def _kept(self, weights: Iterable[Tensor | None], make: Callable[[], Pack]) -> Pack:
        """Return what `make` returns, made anew when the weights have changed since."""
        key: list[object] = [None if t is None else (t.data_ptr(), 0 if t.is_inference() else t._version) for t in weights]
        key.append(native.products())
        if self.__dict__.get("_packed_key") != key:
            self.__dict__["_packed"], self.__dict__["_packed_key"] = make(), key  # in this order: other threads read too
        return self.__dict__["_packed"]

    def __getstate__(self) -> dict:
        return {k: v for k, v in super().__getstate__().items() if k not in ("_packed", "_packed_key")}  # type: ignore[attr-defined]
