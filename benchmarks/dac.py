"""DAC against descript-audio-codec: the same random weights, one process, interleaved runs, seconds and their ratio.

python -P benchmarks/dac.py [--name dac_16khz] [--seconds 2] [--threads 1] [--repeats 5] [--graphs FOLDER]

With --graphs ours runs in ONNX Runtime, by graphs that are exported to the folder unless they are there.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from dac.model.dac import DAC

import toneme
from toneme.codecs.dac import CONFIGS
from toneme.export.cache import made


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="dac_16khz", choices=list(CONFIGS))
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--graphs", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    config = CONFIGS[given.name]
    blocks = config.blocks
    peer = DAC(
        blocks.width, list(blocks.strides), blocks.latent, blocks.decoder_width, list(blocks.strides[::-1]), config.codebooks,
        config.codebook_size, config.code_dim, sample_rate=config.sample_rate,
    ).eval()  # fmt: skip
    ours = toneme.from_official(given.name, peer)
    ours = made(ours, given.graphs, given.threads) if given.graphs else ours
    audio = torch.randn(1, 1, round(given.seconds * config.sample_rate)) * 0.1
    with torch.inference_mode():
        padded = peer.preprocess(audio, config.sample_rate)
        codes, tokens = peer.encode(padded)[1], ours.encode(audio)
        pairs = {
            "encode": (lambda: peer.encode(padded), lambda: ours.encode(audio)),
            "decode": (lambda: peer.decode(peer.quantizer.from_codes(codes)[0]), lambda: ours.decode(tokens)),
        }
        report(given.name, pairs, given.repeats)
    print(f"equal codes: {float((tokens.codes == codes).float().mean())}")


def report(name: str, pairs: dict[str, tuple[Callable, Callable]], repeats: int) -> None:
    """Print the best seconds of both sides of each pair, and how many times faster the second is."""
    best = {key: [float("inf")] * 2 for key in pairs}
    for _ in range(repeats):
        for key, runs in pairs.items():
            for i, run in enumerate(runs):
                start = time.perf_counter()
                run()
                best[key][i] = min(best[key][i], time.perf_counter() - start)
    best["both"] = [sum(column) for column in zip(*best.values(), strict=True)]
    print(f"{name}\n| step | peer s | toneme s | times faster |\n|---|---|---|---|")
    for key, (peer, own) in best.items():
        print(f"| {key} | {peer:.3f} | {own:.3f} | {peer / own:.2f} |")


if __name__ == "__main__":
    main()
