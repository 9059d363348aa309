"""Any quantizer of vector-quantize-pytorch in a recipe, by its name there and its own keyword arguments.

Source: https://github.com/lucidrains/vector-quantize-pytorch
"""

from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from ..kernels.errors import MissingDependencyError, ShapeError, how_to_install
from .base import Quantized, Quantizer

CHANNELS_FIRST = ("HierarchicalVQ", "LatentQuantize")  # of their own accord; most others take frames first
NOT_QUANTIZERS = {
    "BinaryMapper": "it maps logits to one-hot vectors",
    "EvoLFQ": "it evolves the codes of a whole encoder and decoder",
    "Sequential": "it is a container",
}


class PeerQuantizer(Quantizer):
    """A quantizer of vector-quantize-pytorch behind our call.

    Codes of groups are neighbours: depth 0 of each group, then depth 1, as in `Grouped`. A code of HierarchicalVQ's coarse
    levels is repeated for each frame that it covers.

    Args:
        name: of the class, such as "ResidualVQ" or "LFQ".
        dim: of the latents.
        sizes: codes in each codebook, where the class does not say `codebook_size`.
        options: its keyword arguments.
    """

    def __init__(self, name: str, dim: int, sizes: tuple[int, ...] | None = None, **options: Any) -> None:
        super().__init__()
        self.dim, self.peer = dim, peer_class(name)(dim=dim, **options)
        self.channels_first = bool(options.get("channel_first", name in CHANNELS_FIRST))
        self.groups = int(options.get("groups", 1)) if name.startswith("Grouped") else 0
        self.scales = tuple(options["scales"]) if name == "HierarchicalVQ" else ()
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
        for method in ("get_output_from_indices", "indices_to_codes"):
            if hasattr(self.peer, method):
                out = getattr(self.peer, method)(self._indices(codes))
                return out if self.channels_first else out.transpose(1, 2)
        raise ShapeError(f"{type(self.peer).__name__} of vector-quantize-pytorch cannot decode: it only gives labels")

    def forward(self, latents: Tensor, depths: Tensor | None = None) -> Quantized:
        """As the peer does it; its losses come as one number, in `commitment`. `depths` is for the peer's own dropout.

        Raises:
            ShapeError: if `depths` are given.
        """
        if depths is not None:
            raise ShapeError("vector-quantize-pytorch draws depths by itself: pass quantize_dropout=True instead of depths")
        given = latents if self.channels_first else latents.transpose(1, 2)
        result: Any = self.peer(given)
        result = result if isinstance(result, tuple) else (given, result)  # a quantizer that only gives labels
        loss = torch.as_tensor(result[2]).float().mean() if len(result) > 2 else latents.new_zeros(())
        out = result[0] if self.channels_first else result[0].transpose(1, 2)
        return self._quantized(out, self._codes(result[1], latents.shape[2]), loss)

    def _codes(self, indices: Any, frames: int) -> Tensor:
        """The peer's indices as codes [batch, depth, frames]."""
        if self.scales:
            parts = zip(indices, self.scales, strict=True)
            return torch.stack([level[:, torch.arange(frames) * scale // frames] for level, scale in parts], dim=1).long()
        if self.groups:
            return indices.permute(1, 3, 0, 2).flatten(1, 2).long()  # from [groups, batch, frames, depth]
        return (indices.transpose(1, 2) if indices.dim() == 3 else indices[:, None]).long()

    def _indices(self, codes: Tensor) -> Any:
        """What `_codes` was made of."""
        if self.scales:
            frames = codes.shape[2]
            first = [-(torch.arange(scale) * -frames // scale) for scale in self.scales]  # of the frames of each code
            return tuple(level[:, at] for level, at in zip(codes.unbind(1), first, strict=True))
        chain = hasattr(self.peer, "num_quantizers")
        if chain or self.groups:  # with -1 the peer marks the stages that it leaves out
            codes = nn.functional.pad(codes, (0, 0, 0, self.depth - codes.shape[1]), value=-1)
        if self.groups:
            return codes.unflatten(1, (-1, self.groups)).permute(2, 0, 3, 1)
        several = len(self.sizes) > 1 or chain
        return codes.transpose(1, 2) if several else codes[:, 0]

    def _stated_sizes(self, options: dict[str, Any]) -> tuple[int, ...]:
        size = options.get("codebook_size", getattr(self.peer, "codebook_size", None))
        if not isinstance(size, int):
            raise ShapeError(f"sizes must be given: {type(self.peer).__name__} does not say how many codes it has")
        stages = len(self.scales) or int(options.get("num_quantizers", options.get("num_codebooks", 1)))
        return (size,) * (stages * max(1, self.groups))


def peer_class(name: str) -> type[nn.Module]:
    """The class of that name.

    Raises:
        MissingDependencyError: if the package is not installed.
        ShapeError: if it has no such quantizer, or the class is something else.
    """
    try:
        package = import_module("vector_quantize_pytorch")
    except ImportError as error:
        raise MissingDependencyError(f"vector-quantize-pytorch is not installed: {how_to_install('train')}") from error
    if name in NOT_QUANTIZERS:
        raise ShapeError(f"{name} of vector-quantize-pytorch is not a quantizer of latents: {NOT_QUANTIZERS[name]}")
    found = getattr(package, name, None)
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise ShapeError(f"vector-quantize-pytorch has no quantizer {name!r}; it has {', '.join(peer_names(package))}")
    return found


def peer_names(package: Any) -> list[str]:
    """Names of the package's quantizers."""
    modules = (name for name, value in vars(package).items() if isinstance(value, type) and issubclass(value, nn.Module))
    return sorted(set(modules) - set(NOT_QUANTIZERS))
