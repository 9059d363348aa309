"""DAC and SNAC against their own packages: the same random weights, one process, interleaved runs, medians and their ratio.

python benchmarks/convolutional.py [--name dac_16khz] [--seconds 2] [--threads 1] [--repeats 5] [--graphs FOLDER]

With --graphs ours runs in ONNX Runtime, by graphs that are exported to the folder unless they are there.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

import toneme
from toneme.codecs import dac, snac
from toneme.export.cache import made


class Peer(NamedTuple):
    """A codec of another package, and its way from audio [batch, 1, samples] to codes and back."""

    model: Any
    encode: Callable[[torch.Tensor], list[torch.Tensor]]
    decode: Callable[[list[torch.Tensor]], torch.Tensor]


def dac_peer(config: dac.DacConfig) -> Peer:
    """Return descript-audio-codec's."""
    from dac.model.dac import DAC

    blocks = config.blocks
    model = DAC(
        blocks.width, list(blocks.strides), blocks.latent, blocks.decoder_width, list(blocks.strides[::-1]), config.codebooks,
        config.codebook_size, config.code_dim, sample_rate=config.sample_rate,
    ).eval()  # fmt: skip
    return Peer(
        model,
        lambda audio: [model.encode(model.preprocess(audio, config.sample_rate))[1]],
        lambda codes: model.decode(model.quantizer.from_codes(codes[0])[0]),
    )


def snac_peer(config: snac.SnacConfig) -> Peer:
    """Return snac's."""
    from snac import SNAC

    blocks = config.blocks
    model = SNAC(
        config.sample_rate, blocks.width, list(blocks.strides), None, blocks.decoder_width, list(blocks.strides[::-1]),
        blocks.attention or None, config.codebook_size, config.code_dim, list(config.frames_per_code),
    ).eval()  # fmt: skip
    return Peer(model, model.encode, model.decode)


PEERS = {name: (dac_peer, config) for name, config in dac.CONFIGS.items()} | {
    name: (snac_peer, config) for name, config in snac.CONFIGS.items()
}


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="dac_16khz", choices=list(PEERS))
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--graphs", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    make, config = PEERS[given.name]
    peer = make(config)
    ours = toneme.from_official(given.name, peer.model)
    ours = made(ours, given.graphs, given.threads) if given.graphs else ours
    audio = torch.randn(1, 1, round(given.seconds * config.sample_rate)) * 0.1
    with torch.inference_mode():
        codes, tokens = peer.encode(audio), ours.encode(audio)
        report(given.name, given.repeats, {
            "encode": (lambda: peer.encode(audio), lambda: ours.encode(audio)),
            "decode": (lambda: peer.decode(codes), lambda: ours.decode(tokens)),
        })  # fmt: skip
    equal = [float((a == b.reshape(a.shape)).float().mean()) for a, b in zip(tokens.streams, codes, strict=True)]
    print(f"equal codes per stream: {equal}")


def report(name: str, repeats: int, pairs: dict[str, tuple[Callable, Callable]]) -> None:
    """Print the median seconds of both sides of each pair, and how many times faster the second is."""
    taken: dict[str, tuple[list[float], list[float]]] = {key: ([], []) for key in pairs}
    for _ in range(repeats):
        for key, runs in pairs.items():
            for run, seconds in zip(runs, taken[key], strict=True):
                start = time.perf_counter()
                run()
                seconds.append(time.perf_counter() - start)
    medians = {key: [statistics.median(side) for side in sides] for key, sides in taken.items()}
    medians["both"] = [sum(column) for column in zip(*medians.values(), strict=True)]
    print(f"{name}\n| step | peer s | toneme s | times faster |\n|---|---|---|---|")
    for key, (peer, own) in medians.items():
        print(f"| {key} | {peer:.3f} | {own:.3f} | {peer / own:.2f} |")


if __name__ == "__main__":
    main()
