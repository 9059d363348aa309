"""EnCodec beside PyPI's encodec: the same random weights, one process, runs interleaved, medians.

    python -P benchmarks/encodec.py [--seconds 10] [--kbps 6] [--threads 1 2] [--runs 9] [--model encodec_24khz] [--graphs DIR]

Prints one JSON line per thread count: milliseconds (wall, and of the processor) and how many times faster ours is. With
--graphs ours runs in ONNX Runtime, by graphs that are exported to the folder unless they are there.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from encodec import EncodecModel

from toneme.codecs.base import Codec
from toneme.codecs.encodec import OFFICIAL
from toneme.export.cache import made

PEERS = {"encodec_24khz": EncodecModel.encodec_model_24khz, "encodec_48khz": EncodecModel.encodec_model_48khz}


def interleaved(tasks: dict[str, Callable[[], object]], runs: int) -> dict[str, dict[str, float]]:
    """Return the median wall and processor time of each task in milliseconds, one run of each after the other."""
    wall: dict[str, list[float]] = {name: [] for name in tasks}
    busy: dict[str, list[float]] = {name: [] for name in tasks}
    for run in range(runs + 1):
        for name, task in tasks.items():
            began, worked = time.perf_counter(), time.process_time()
            task()
            if run:  # the first warms up
                wall[name].append(1e3 * (time.perf_counter() - began))
                busy[name].append(1e3 * (time.process_time() - worked))
    return {name: {"wall": statistics.median(wall[name]), "cpu": statistics.median(busy[name])} for name in tasks}


def build(model: str) -> tuple[EncodecModel, Codec]:
    """Return the peer with random weights, and ours with the same."""
    torch.manual_seed(0)
    peer = PEERS[model](pretrained=False).eval()
    for layer in peer.quantizer.vq.layers:
        layer._codebook.embed.normal_(std=0.1)
        layer._codebook.inited.fill_(1)
    return peer, OFFICIAL[model](peer.state_dict())


def measure(model: str, seconds: float, kbps: float, runs: int, graphs: Path | None) -> dict:
    """Return the times of both, and their ratios."""
    peer, codec = build(model)
    codec = made(codec, graphs, torch.get_num_threads()) if graphs else codec
    peer.set_target_bandwidth(kbps)
    depth = codec.spec.codebooks_for(kbps)
    waveform = torch.randn(1, codec.spec.channels, round(seconds * codec.spec.sample_rate)) * 0.1
    with torch.inference_mode():
        frames, tokens = peer.encode(waveform), codec.encode(waveform, codebooks=depth)
        tasks = {
            "peer encode": lambda: peer.encode(waveform),
            "our encode": lambda: codec.encode(waveform, codebooks=depth),
            "peer decode": lambda: peer.decode(frames),
            "our decode": lambda: codec.decode(tokens),
        }
        times = interleaved(tasks, runs)
    pairs = {way: (times[f"peer {way}"], times[f"our {way}"]) for way in ("encode", "decode")}
    faster = {way: {kind: theirs[kind] / ours[kind] for kind in ours} for way, (theirs, ours) in pairs.items()}
    return {"model": model, "threads": torch.get_num_threads(), "ms": times, "times_faster": faster}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=sorted(PEERS), default="encodec_24khz")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--kbps", type=float, default=6)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--graphs", type=Path)
    chosen = parser.parse_args()
    for threads in chosen.threads:
        torch.set_num_threads(threads)
        found = measure(chosen.model, chosen.seconds, chosen.kbps, chosen.runs, chosen.graphs)
        print(json.dumps(found, default=float), flush=True)


if __name__ == "__main__":
    main()
