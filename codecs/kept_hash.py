"""A hash of weights that holds until one of them changes, since to form it takes as long as reading them all."""

from typing import Any

import torch
from torch import Tensor, nn


class KeptHash:
    """A hash, and PyTorch's counts of changes of the tensors that it was formed of.

    A change that PyTorch does not count, in place through `.data` or of an inference tensor, is not seen.

    Attributes:
        text: the hash.
    """

    def __init__(self, text: str, module: nn.Module) -> None:
        self.text = text
        self.renew(module)

    def renew(self, module: nn.Module) -> None:
        """Hold for the weights as they are now."""
        state = module.state_dict(keep_vars=True).values()
        self._tensors = [tensor for tensor in state if isinstance(tensor, Tensor) and not tensor.is_inference()]
        self._changes = self._count()

    def holds(self) -> bool:
        """Return whether no weight has changed since."""
        return torch.compiler.is_compiling() or self._count() == self._changes

    def _count(self) -> int:
        return sum(tensor._version for tensor in self._tensors)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the tensors out: those of a copy are others, for which `renew` is called."""
        return {"text": self.text if self.holds() else "", "_tensors": [], "_changes": 0}
