"""X-Codec against transformers' XcodecModel: the same random weights, one process, interleaved runs, processor time and ratios.

With --minutes also the peak memory of a process that codes and sounds so much audio.

python -P benchmarks/xcodec.py [--seconds 5] [--threads 1] [--repeats 5] [--minutes 0]
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import torch
from transformers import XcodecConfig, XcodecModel

import toneme

LONG = """
import re, sys, torch, toneme
folder, minutes, threads = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(threads)
codec = toneme.load(folder)
tokens = codec.encode(torch.randn(1, 1, round(minutes * 60 * 16000)) * 0.1)
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024
coded = peak()
codec.decode(tokens)
print(f"{minutes:g} minutes: peak MB {coded} after encoding, {peak()} after decoding")
"""


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=0)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    peer = XcodecModel(XcodecConfig()).eval()
    with torch.no_grad():
        for name, buffer in peer.named_buffers():
            if name.endswith(".embed"):
                buffer.normal_()
    ours = toneme.from_official("xcodec_hubert_librispeech", peer)
    audio = torch.randn(1, 1, round(given.seconds * 16000) // 320 * 320) * 0.1
    with torch.inference_mode():
        codes, tokens = peer.encode(audio, return_dict=False), ours.encode(audio)
        pairs = {
            "encode": (lambda: peer.encode(audio), lambda: ours.encode(audio)),
            "of which HuBERT": (lambda: peer._extract_semantic_features(audio), lambda: ours.teacher(audio[:, 0])),
            "decode": (lambda: peer.decode(codes), lambda: ours.decode(tokens)),
            "encode and decode": (lambda: peer.decode(peer.encode(audio, return_dict=False)), lambda: ours(audio)),
        }
        report(pairs, given.repeats)
    print(f"equal codes: {float((tokens.codes == codes).float().mean())}")
    if given.minutes:
        with tempfile.TemporaryDirectory() as folder:
            ours.save(folder)
            subprocess.run([sys.executable, "-P", "-c", LONG, folder, str(given.minutes), str(given.threads)], check=True)


def report(pairs: dict[str, tuple[Callable, Callable]], repeats: int) -> None:
    """Print the median seconds of both sides of each pair, and how many times faster the second is."""
    taken: dict[str, tuple[list[float], list[float]]] = {key: ([], []) for key in pairs}
    for _ in range(repeats):
        for key, runs in pairs.items():
            for run, seconds in zip(runs, taken[key], strict=True):
                start = time.process_time()
                run()
                seconds.append(time.process_time() - start)
    print("| step | transformers s | toneme s | ratio |\n|---|---|---|---|")
    for key, columns in taken.items():
        peer, own = map(statistics.median, columns)
        print(f"| {key} | {peer:.3f} | {own:.3f} | {peer / own:.2f} |")


if __name__ == "__main__":
    main()
