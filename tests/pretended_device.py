"""Run codecs, quantizers, losses and discriminators on a device that is only pretended; one line each. Run by test_devices.py.

Its tensors have a shape, a type and a device, and no numbers. An operation on tensors of two devices fails as it would with a
GPU, so that a tensor made without `device=`, or kept where `Module.to` does not see it, is found without one.
"""

import importlib.machinery
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import backend_registration

TESTS = Path(__file__).parent
for name, folder in (("tests", TESTS), ("tests.codecs", TESTS / "codecs")):
    package = types.ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules[name] = package
empty = types.ModuleType("torchaudio")  # as in conftest.py; transformers looks for it
empty.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
sys.modules.setdefault("torchaudio", empty)

from tests.codecs.small_codecs import CODECS, small_codec  # noqa: E402
from toneme.codecs.layers import ddim  # noqa: E402
from toneme.kernels import nearest, snake  # noqa: E402
from toneme.quantizers import base, factorised, lookup_free, multicodebook, projection, residual, scalar, simvq, split  # noqa: E402
from toneme.recipes.discriminators import DISCRIMINATORS, build_discriminator  # noqa: E402
from toneme.recipes.losses import LOSSES, build_loss  # noqa: E402

DEVICE, DIM = "pretended", 8
RATED = ("spectral", "perceptual", "intelligibility")  # losses beside `mel_*` that are told the rate
FEATURES = ("d_axis", "t_axis", "semantic_mse", "cosine", "language_guided")


def on_device(module: nn.Module) -> nn.Module:
    """As `module.to(device)`."""
    for part in module.modules():
        for kept in (part._parameters, part._buffers):
            for key, tensor in kept.items():
                if tensor is not None:
                    moved = torch.empty(tensor.shape, dtype=tensor.dtype, device=DEVICE)
                    kept[key] = nn.Parameter(moved, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else moved
    return module


def zeros(*shape: int) -> Tensor:
    return torch.zeros(shape, device=DEVICE)


def check(*tensors: Tensor) -> None:
    """Fail where something came out on another device."""
    for tensor in tensors:
        if tensor.device.type != DEVICE:
            raise AssertionError(f"{list(tensor.shape)} came out on {tensor.device}")


@torch.inference_mode()
def walk_codec(codec: Any) -> None:
    waveform = zeros(2, codec.spec.channels, 2 * codec.spec.sample_rate // 5)
    streams, side = codec._encode(waveform, codec.spec.check_codebooks(None))
    check(*streams, *side.values())
    if codec.family != "units":  # they have no sound
        check(codec._decode(streams, side, waveform.shape[-1]))


def walk_quantizer(quantizer: Any) -> None:
    latents = zeros(2, DIM, 12)
    codes = quantizer.eval().encode(latents)
    result = quantizer(latents)
    check(codes, quantizer.decode(codes), result.latents, result.commitment, result.codebook, result.entropy)
    if hasattr(quantizer, "update"):
        rows = zeros(24, DIM)
        quantizer._revive = lambda stage, rows: None  # it asks how many codes are dead
        quantizer.update(0, rows, quantizer.search(rows, 0, 1)[:, 0])


def walk_loss(loss: nn.Module, name: str) -> None:
    shape = (2, 16, 24) if name in FEATURES else (2, 8000) if name == "spectral" else (2, 1, 8000)
    target = zeros(*shape)
    found = loss(zeros(*shape), {"speech": target, "text": target} if name == "language_guided" else target)
    check(*(found.values() if isinstance(found, dict) else [found]))


def walk_discriminator(critic: nn.Module) -> None:
    for score, maps in critic(zeros(2, 1, 8000)):
        check(score, *maps)


def modules() -> Iterator[tuple[str, nn.Module, Callable[[Any], None]]]:
    """Everything, with random weights on the CPU, and how it is walked through."""
    for name in CODECS:
        yield f"codec {name}", small_codec(name), walk_codec
    quantizers = {
        "residual": residual.ResidualVQ(DIM, 16, 3),
        "residual, rotated": residual.ResidualVQ(DIM, 16, 3, gradient="rotation", per_stage=True),
        "split": split.SplitResidualVQ(DIM, 16, 3, code_dim=4),
        "factorised": factorised.ResidualFactorisedVQ(DIM, 16, 3, 4),
        "lookup-free": lookup_free.LFQ(5, DIM),
        "spherical": lookup_free.BSQ(5, DIM),
        "multi-codebook": multicodebook.MultiCodebookVQ(DIM, 16, 3),
        "projection": projection.RandomProjectionQuantizer(DIM, 16, 4),
        "scalar": scalar.FSQ((5, 4, 3), DIM),
        "scalar, residual": scalar.ResidualFSQ((5, 4, 3), 2, DIM),
        "simvq": simvq.SimVQ(DIM, 16),
    }
    quantizers["residual, by a beam"] = residual.ResidualVQ(DIM, 16, 3)
    quantizers["residual, by a beam"].beam = 4
    for name, quantizer in quantizers.items():
        yield f"quantizer {name}", quantizer, walk_quantizer
    for name in LOSSES:
        settings = {"sample_rate": 16000} if name.startswith("mel_") or name in RATED else {}
        yield f"loss {name}", build_loss(name, **settings), lambda loss, name=name: walk_loss(loss, name)
    for name in DISCRIMINATORS:
        settings = {"sample_rate": 16000} if name in ("multi_frequency",) else {}
        yield f"discriminator {name}", build_discriminator(name, **settings), walk_discriminator


class Backend(backend_registration._DummyBackendModule):
    """What PyTorch asks of a kind of device."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


def without_numbers() -> None:
    """Replace what asks a tensor for its values, and take the kernels as operators, whose shapes are known."""
    nearest._search = nearest._rvq_encode
    snake.on_gpu = lambda x: True
    base.measure = lambda codes, sizes: (codes.new_zeros(codes.shape[1]).float(),) * 2
    ddim.Schedule.signal = lambda self: types.SimpleNamespace(tolist=lambda: [0.5] * self.steps)  # type: ignore[assignment]
    torch.equal = lambda a, b: False  # type: ignore[assignment]


def finds_mistakes() -> bool:
    """Whether a tensor that lies elsewhere is found, both one that was there before and one that is made on the way."""
    outside, found = torch.ones(3), 0
    with FakeTensorMode(allow_non_fake_inputs=True):
        for other in (outside, torch.ones(3)):
            try:
                zeros(3) + other
            except RuntimeError:
                found += 1
    return found == 2


def main() -> int:
    everything = [entry for entry in modules() if not sys.argv[1:] or entry[0] in sys.argv[1:]]
    backend_registration._setup_privateuseone_for_python_backend(DEVICE, Backend())
    if not finds_mistakes():
        print("tensors of two devices were added, and nothing failed")
        return 2
    without_numbers()
    failed = 0
    for name, module, walk in everything:
        try:
            with FakeTensorMode(allow_non_fake_inputs=True):
                walk(on_device(module))
        except Exception as error:
            ours = [f for f in traceback.extract_tb(error.__traceback__) if str(TESTS.parent) in f.filename]
            print(f"{name}: {error!r:.400}\n" + "\n".join(f"    {f.filename}:{f.lineno} {f.line}" for f in ours), flush=True)
            failed += 1
        else:
            print(f"{name}: fine", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
