"""Size and speed of `.tok`: against bit-packed codes, against uint16 (as .dac stores them), and against .npz.

    python -P benchmarks/tokenfile.py [FILE.tok ...]

Without files, on made codes: even ones, from which nothing can be learnt (the worst case); skewed ones, like a codebook that
is not used evenly; and ones with pauses, where codes repeat. With files, on their codes.
"""

import io
import sys
import time
import tracemalloc

import numpy as np
import torch

from toneme.codecs.bitpack import width_of
from toneme.codecs.formats import read_tokens
from toneme.codecs.tokenfile import TokenReader, TokenWriter, read_tok, write_tok
from toneme.codecs.tokens import Tokens

LAYOUTS = {  # codebook sizes, Hz
    "8 x 1024, 50 Hz": ((1024,) * 8, 50.0),
    "8 x 2048, 12.5 Hz": ((2048,) * 8, 12.5),
    "32 x 1024, 75 Hz": ((1024,) * 32, 75.0),
    "1 x 4096, 40 Hz": ((4096,), 40.0),
    "1 x 6561, 25 Hz": ((6561,), 25.0),
}


def made(kind: str, sizes: tuple[int, ...], rate: float, seconds: int) -> Tokens:
    """Return made codes: "even", "skewed" or "pauses" (a third of the time, codes repeat)."""
    rng, frames = np.random.default_rng(0), int(seconds * rate)
    rows = []
    for size in sizes:
        chances = rng.dirichlet(np.full(size, 1.0)) if kind != "even" else None
        rows.append(rng.choice(size, frames, p=chances))
    codes = np.stack(rows)
    if kind == "pauses":
        second = np.arange(frames) // max(1, int(rate))
        source = np.where(second % 3 == 0, (second * rate).astype(int), np.arange(frames))
        codes = codes[:, np.minimum(source, frames - 1)]
    return Tokens(
        (torch.from_numpy(codes)[None],), torch.tensor([[frames]]), torch.tensor([int(frames * 24000 / rate)]),
        "made", "0123456789abcdef", 24000, 1, (rate,), (sizes,),
    )  # fmt: skip


def plain_bytes(tokens: Tokens) -> tuple[int, int]:
    """Return the bytes of the codes alone, bit-packed and as uint16."""
    counts = [(codes.shape[2], sizes) for codes, sizes in zip(tokens.streams, tokens.codebook_sizes, strict=True)]
    bits = sum(n * width_of(size) for n, sizes in counts for size in sizes)
    return -(-bits // 8), 2 * sum(codes.numel() for codes in tokens.streams)


def measure(name: str, tokens: Tokens) -> None:
    """Print one line: sizes and times."""
    file = io.BytesIO()
    begin = time.perf_counter()
    write_tok(tokens, file)
    written = time.perf_counter()
    assert torch.equal(read_tok(io.BytesIO(file.getvalue())).streams[0], tokens.streams[0])
    read = time.perf_counter()
    packed, wide = plain_bytes(tokens)
    size = len(file.getvalue())
    gain = f"{size / packed - 1:+8.2%} of packed {size / wide - 1:+8.2%} of uint16"
    print(
        f"{name:34} {float(tokens.seconds[0]):7.0f} s {size:10} B {gain} "
        f"write {written - begin:6.3f} s read {read - written:6.3f} s"
    )


def measure_memory(tokens: Tokens) -> None:
    """Print the peak of Python's and numpy's memory while an hour is written and read in pieces."""
    file = io.BytesIO()
    tracemalloc.start()
    with TokenWriter(file) as writer:
        for start in range(0, tokens.codes.shape[2], 50):
            writer.write(tokens.frames(start, min(start + 50, tokens.codes.shape[2])))
    written = tracemalloc.get_traced_memory()[1] - len(file.getvalue())
    data = file.getvalue()
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    for _ in TokenReader(io.BytesIO(data)):
        pass
    print(
        f"in pieces: writing holds {written / 1e6:.1f} MB, reading {(tracemalloc.get_traced_memory()[1] - before) / 1e6:.1f} MB"
    )


def main() -> None:
    """Run it."""
    if len(sys.argv) > 1:
        for path in sys.argv[1:]:
            measure(path[-34:], read_tokens(path))
        return
    for seconds in (10, 30, 60, 3600):
        for layout, (sizes, rate) in LAYOUTS.items():
            for kind in ("even", "skewed", "pauses"):
                if seconds < 3600 or layout.startswith("8 x 1024"):
                    measure(f"{layout} {kind}", made(kind, sizes, rate, seconds))
    measure_memory(made("skewed", *LAYOUTS["8 x 1024, 50 Hz"], 3600))


if __name__ == "__main__":
    main()
