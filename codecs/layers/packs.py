"""What a layer keeps of its weights in an order that the CPU's path reads, until they change."""

from collections.abc import Callable, Iterable
from typing import Any, Self, TypeVar

from torch import Tensor, nn

from ...kernels import native

Pack = TypeVar("Pack")
KEPT = ("_packed_key", "_packed", "_packed_of")


class Packs(nn.Module):
    """A layer that keeps such a pack; copies and files of the layer hold none.

    A change that PyTorch does not count, in place through `.data` or of an inference tensor, is not seen.
    """

    def _kept(self, weights: Iterable[Tensor | None], make: Callable[[], Pack]) -> Pack:
        """Return what `make` returns, made anew when the weights have changed since."""
        weights = list(weights)
        key: list[object] = [None if t is None else (t.data_ptr(), 0 if t.is_inference() else t._version) for t in weights]
        key.append(native.products())
        if self.__dict__.get("_packed_key") != key:
            self.__dict__["_packed"], self.__dict__["_packed_key"] = make(), key  # in this order: other threads read too
            # held with the pack: later weights can then not lie where these did, and be taken for them
            self.__dict__["_packed_of"] = [None if t is None else t.untyped_storage() for t in weights]
        return self.__dict__["_packed"]

    def _apply(self, *args: Any, **kwargs: Any) -> Self:
        """Move or convert the weights; what was kept of them would only take memory."""
        self._let_go()
        return super()._apply(*args, **kwargs)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._let_go()
        super()._load_from_state_dict(*args, **kwargs)

    def _let_go(self) -> None:
        for name in KEPT:
            self.__dict__.pop(name, None)

    def __getstate__(self) -> dict:
        return {k: v for k, v in super().__getstate__().items() if k not in KEPT}  # type: ignore[attr-defined]
