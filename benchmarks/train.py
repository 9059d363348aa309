"""Training steps per second of encodec_24khz, ours against a loop in audiocraft's manner, in one run.

    python -P benchmarks/train.py [--batch 16] [--seconds 1] [--steps 3] [--device cpu]

The peer: SEANet and the discriminator of the package `encodec`, `ResidualVQ` of vector-quantize-pytorch with 32 codebooks of
1024, weight norm, the losses of this recipe, gradients of each loss balanced at the output; the discriminators judge once for
their own step and once for the codec's, as audiocraft's loop does. Both get the same batches from memory, and take steps in
turns; the median of each is compared. Where one of the two packages is missing, ours is measured alone.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from toneme.codecs.audio import write_audio
from toneme.recipes.discriminators import judge_both, judge_for_generator
from toneme.recipes.losses import Balancer, build_loss
from toneme.recipes.losses.adversarial import discriminator_loss, feature_matching, generator_loss
from toneme.recipes.recipe import read_recipe
from toneme.recipes.trainer import Trainer

CODEBOOKS = 32


def ours(batch: int, seconds: float, device: str) -> Callable[[], Any]:
    """Return a step of the trainer, with k-means behind it and every step's discriminators learning."""
    folder = Path(tempfile.mkdtemp())
    torch.manual_seed(0)
    write_audio(folder / "noise.wav", 0.1 * torch.randn(1, 24000 * 20), 24000)
    settings = [
        f"data.train={folder}",
        f"data.cache={folder}",
        f"batch={batch}",
        f"seconds={seconds}",
        "data.workers=0",
        "data.bank=true",
    ]
    fixed = [
        "quantizer.full_depth=1.0",
        "quantizer.kmeans=false",
        "adversarial.share=1.0",
        "data.augment={}",
        "data.loudness=null",
    ]
    return Trainer(read_recipe("encodec_24khz", [*settings, *fixed]), folder / "run", device=device).take_step


class Critics(torch.nn.Module):
    """The discriminators of the package `encodec`, with the five windows of the paper."""

    def __init__(self) -> None:
        from encodec.msstftd import MultiScaleSTFTDiscriminator

        super().__init__()
        windows = [2048, 1024, 512, 256, 128]
        hops = [window // 4 for window in windows]
        self.parts = MultiScaleSTFTDiscriminator(filters=32, n_ffts=windows, hop_lengths=hops, win_lengths=windows)

    def forward(self, waveform: Tensor) -> list[tuple[Tensor, list[Tensor]]]:
        """Return score and maps of each window."""
        return list(zip(*self.parts(waveform), strict=True))


class Peer:
    """The same training in the manner of audiocraft's solver."""

    def __init__(self, batch: int, seconds: float, device: str) -> None:
        from encodec.modules import SEANetDecoder, SEANetEncoder
        from vector_quantize_pytorch import ResidualVQ

        shape = {"norm": "weight_norm", "causal": True, "n_filters": 32, "dimension": 128}
        self.encoder, self.decoder = SEANetEncoder(**shape).to(device), SEANetDecoder(**shape).to(device)
        self.quantizer = ResidualVQ(
            dim=128, codebook_size=1024, num_quantizers=CODEBOOKS, decay=0.99, kmeans_init=False, threshold_ema_dead_code=2
        ).to(device)
        self.critics = Critics().to(device)
        self.losses = {"l1": build_loss("l1"), "mel": build_loss("mel_encodec", sample_rate=24000).to(device)}
        self.balancer = Balancer({"l1": 0.1, "mel": 2.0, "adversarial": 4.0, "features": 4.0})
        weights = [*self.encoder.parameters(), *self.decoder.parameters()]
        self.optimizer = torch.optim.AdamW(weights, lr=3e-4, betas=(0.5, 0.9))
        self.critics_optimizer = torch.optim.AdamW(self.critics.parameters(), lr=3e-4, betas=(0.5, 0.9))
        self.average = [w.detach().clone() for w in weights]
        self.weights = weights
        self.audio = 0.1 * torch.randn(batch, 1, round(24000 * seconds), device=device)

    def step(self) -> None:
        """Take one step: codec forward, discriminators' step, codec's step, average."""
        target = self.audio
        latents = self.encoder(target)
        quantized, _, commitment = self.quantizer(latents.transpose(1, 2))
        output = self.decoder(quantized.transpose(1, 2))[..., : target.shape[-1]]
        real, fake = judge_both(self.critics, target, output)
        self.critics_optimizer.zero_grad()
        discriminator_loss(real, fake).backward()
        self.critics_optimizer.step()
        leaf: Tensor = output.detach().requires_grad_()
        terms = {name: loss(leaf, target) for name, loss in self.losses.items()}
        real, fake = judge_for_generator(self.critics, target, leaf)
        terms |= {"adversarial": generator_loss(fake), "features": feature_matching(real, fake)}
        self.balancer.backward(terms, leaf)
        self.optimizer.zero_grad()
        torch.autograd.backward([output, commitment.sum()], [leaf.grad, torch.ones((), device=target.device)])
        self.optimizer.step()
        with torch.no_grad():
            for mean, weight in zip(self.average, self.weights, strict=True):
                mean.lerp_(weight, 0.01)


def clock(device: str) -> float:
    """Return the time, all work done."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def main() -> None:
    """Measure and print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    sides = {"ours": ours(given.batch, given.seconds, given.device)}
    try:
        sides["peer"] = Peer(given.batch, given.seconds, given.device).step
    except ImportError as error:
        print(f"peer: not installed ({error})")
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(given.steps + 1):
        for name, step in sides.items():
            began = clock(given.device)
            step()
            times[name].append(clock(given.device) - began)
            print(f"{name}: {times[name][-1]:.2f} s{'' if number else ', warming up'}", flush=True)
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    for name, value in medians.items():
        print(f"{name}: {1 / value:.3f} steps/s ({value:.2f} s a step)")
    settings = f"batch {given.batch} x {given.seconds} s, {given.threads} threads"
    print(f"ratio: {medians['peer'] / medians['ours']:.2f} at {settings}" if "peer" in medians else f"at {settings}")


if __name__ == "__main__":
    main()
