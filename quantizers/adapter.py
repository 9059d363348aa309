"""Any quantizer of vector-quantize-pytorch in a recipe, by its name there and its own keyword arguments.

Source: https://github.com/lucidrains/vector-quantize-pytorch
"""

from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from ..kernels.errors import MissingDependencyError, ShapeError
from .base import Quantized, Quantizer


class PeerQuantizer(Quantizer):
    """A quantizer of vector-quantize-pytorch behind our call.

    Args:
        name: of the class, such as "ResidualVQ" or "LFQ".
        dim: of the latents.
        sizes: codes in each codebook, where the class does not say `codebook_size`.
        options: its keyword arguments.
    """

    def __init__(self, name: str, dim: int, sizes: tuple[int, ...] | None = None, **options: Any) -> None:
        super().__init__()
        self.dim, self.peer = dim, peer_class(name)(dim=dim, **options)
        self._sizes = sizes or self._stated_sizes(options)

    @property
    def sizes(self) -> tuple[int, ...]:
        return self._sizes

    def encode(self, latents: Tensor, depth: int | None = None) -> Tensor:
        training = self.training
        with torch.no_grad():
            codes = self.eval()(latents).codes[:, :depth]
        self.train(training)
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        indices = codes.transpose(1, 2)
        indices = indices if self._has_codebook_axis else indices[..., 0]
        for method in ("get_output_from_indices", "indices_to_codes"):
            if hasattr(self.peer, method):
                return getattr(self.peer, method)(indices).transpose(1, 2)
        raise ShapeError(f"{type(self.peer).__name__} of vector-quantize-pytorch cannot decode: it only gives labels")

    def forward(self, latents: Tensor, depths: Tensor | None = None) -> Quantized:
        """As the peer does it; its losses come as one number, in `commitment`. `depths` is for the peer's own dropout.

        Raises:
            ShapeError: if `depths` are given.
        """
        if depths is not None:
            raise ShapeError("vector-quantize-pytorch draws depths by itself: pass quantize_dropout=True instead of depths")
        batch, rows = latents.shape[0], latents.transpose(1, 2)
        result: Any = self.peer(rows)
        result = result if isinstance(result, tuple) else (rows, result)  # a quantizer that only gives labels
        indices = result[1]
        codes = (indices if indices.dim() == 3 else indices[..., None]).long()
        loss = torch.as_tensor(result[2]).float().mean() if len(result) > 2 else latents.new_zeros(())
        return self._quantized(result[0].transpose(1, 2), codes.transpose(1, 2).reshape(batch, -1, rows.shape[1]), loss)

    @property
    def _has_codebook_axis(self) -> bool:
        return len(self.sizes) > 1 or hasattr(self.peer, "num_quantizers")

    def _stated_sizes(self, options: dict[str, Any]) -> tuple[int, ...]:
        size = options.get("codebook_size", getattr(self.peer, "codebook_size", None))
        if not isinstance(size, int):
            raise ShapeError(f"sizes must be given: {type(self.peer).__name__} does not say how many codes it has")
        return (size,) * int(options.get("num_quantizers", options.get("num_codebooks", 1)))


def peer_class(name: str) -> type[nn.Module]:
    """The class of that name.

    Raises:
        MissingDependencyError: if the package is not installed.
        ShapeError: if it has no such quantizer.
    """
    try:
        package = import_module("vector_quantize_pytorch")
    except ImportError as error:
        raise MissingDependencyError("vector-quantize-pytorch is not installed: pip install 'toneme[train]'") from error
    found = getattr(package, name, None)
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        names = sorted(n for n, v in vars(package).items() if isinstance(v, type) and issubclass(v, nn.Module))
        raise ShapeError(f"vector-quantize-pytorch has no quantizer {name!r}; it has {', '.join(names)}")
    return found
