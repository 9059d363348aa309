"""Residual and single codebooks on the CPU: ours beside the peers' quantizers, one process, runs interleaved, one table.

    python -P benchmarks/quantizers.py [--threads 2] [--seconds 20] [--rounds 5] [--cases rvq8 ...] [--peers moshi ...] [--big]

Peers: vector-quantize-pytorch, encodec, transformers, moshi and descript-audio-codec, each where it is installed (without their
dependencies will do). `floor` is the matrix products alone. A ratio is the median of peer time / ours in each round. Wall time,
or processor time with one thread, which other processes of the machine disturb less. Memory is what ours allocates at its peak,
beside the codes, against the N x K scores.
"""

import argparse
import functools
import importlib
import importlib.util
import statistics
import sys
import time
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from toneme.kernels import nearest_code, rvq_encode
from toneme.kernels.factorised import Projections, factorised_encode

Tasks = dict[str, Callable[[], Any]]
PEERS = ("vqp", "encodec", "transformers", "moshi", "dac")
MOST_ROUNDS = 25


@functools.cache
def bare(package: str, module: str) -> Any:
    """Import a package's module without its __init__, which may want dependencies that a quantizer does not need."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(package)
    folders, name = list(spec.submodule_search_locations), package
    for part in ["", *module.split(".")[:-1]]:
        if part:
            folders, name = [f"{folder}/{part}" for folder in folders], f"{name}.{part}"
        sys.modules[name] = stub = types.ModuleType(name)
        stub.__path__ = folders
    return importlib.import_module(f"{package}.{module}")


def set_codebooks(peer: torch.nn.Module, codebooks: Tensor) -> torch.nn.Module:
    """Give a peer's codebook buffers, in their order, our values."""
    stage = 0
    for name, buffer in peer.named_buffers():
        last = name.rsplit(".", 1)[-1]
        if last in ("embed", "embed_avg", "embedding_sum") and buffer.shape[-2:] == codebooks.shape[1:]:
            buffer.copy_(codebooks[stage % len(codebooks)].view(buffer.shape))
            stage += last in ("embed", "embedding_sum")
        if last in ("inited", "initted", "_initialized", "cluster_usage", "cluster_size"):
            buffer.fill_(1)
    return peer.eval()


def vqp_residual(x: Tensor, codebooks: Tensor) -> Callable[[], Any]:
    peer = importlib.import_module("vector_quantize_pytorch")
    Q, K, D = codebooks.shape
    made = set_codebooks(peer.ResidualVQ(dim=D, num_quantizers=Q, codebook_size=K), codebooks)
    return lambda: made(x[None])[1]


def encodec_residual(x: Tensor, codebooks: Tensor) -> Callable[[], Any]:
    core = bare("encodec", "quantization.core_vq")
    Q, K, D = codebooks.shape
    made = core.ResidualVectorQuantization(dim=D, codebook_size=K, num_quantizers=Q, kmeans_init=False, codebook_dim=D)
    made, channels_first = set_codebooks(made, codebooks), x.T[None].contiguous()
    return lambda: made.encode(channels_first)


def moshi_residual(x: Tensor, codebooks: Tensor) -> Callable[[], Any]:
    core = bare("moshi", "quantization.core_vq")
    Q, K, D = codebooks.shape
    made = set_codebooks(
        core.ResidualVectorQuantization(num_quantizers=Q, codebook_offset=0, dim=D, codebook_size=K), codebooks
    )
    channels_first = x.T[None].contiguous()
    return lambda: made.encode(channels_first)


def transformers_residual(x: Tensor, codebooks: Tensor) -> Callable[[], Any]:
    transformers = importlib.import_module("transformers")
    model = importlib.import_module("transformers.models.encodec.modeling_encodec")
    made = set_codebooks(model.EncodecResidualVectorQuantizer(transformers.EncodecConfig()), codebooks)
    channels_first, bandwidth = x.T[None].contiguous(), {8: 6.0, 32: 24.0}[len(codebooks)]
    return lambda: made.encode(channels_first, bandwidth)


def vqp_single(x: Tensor, codebooks: Tensor) -> Callable[[], Any]:
    peer = importlib.import_module("vector_quantize_pytorch")
    _, K, D = codebooks.shape
    made = set_codebooks(peer.VectorQuantize(dim=D, codebook_size=K), codebooks)
    return lambda: made(x[None])[1]


def residual(N: int, Q: int, K: int, D: int) -> Tasks:
    """Euclidean residual codes: the floor, ours, and the peers."""
    x, codebooks = torch.randn(N, D), torch.randn(Q, K, D)
    peers = {"vqp": vqp_residual, "encodec": encodec_residual, "transformers": transformers_residual, "moshi": moshi_residual}
    tasks: Tasks = {"floor": products(x, codebooks), "ours": lambda: rvq_encode(x, codebooks)}
    return tasks | made(peers, x, codebooks)


def single(N: int, K: int, D: int) -> Tasks:
    """One codebook: the floor, ours, and the peers."""
    x, codebooks = torch.randn(N, D), torch.randn(1, K, D)
    tasks: Tasks = {"floor": products(x, codebooks), "ours": lambda: nearest_code(x, codebooks[0])}
    return tasks | made({"vqp": vqp_single, "encodec": encodec_residual}, x, codebooks)


def factorised(N: int, Q: int, K: int, D: int, d: int) -> Tasks:
    """DAC's stages: the floor, ours, and DAC."""
    parts = (torch.randn(Q, d, D) / D**0.5, torch.randn(Q, d) / 10, torch.randn(Q, D, d) / d**0.5, torch.randn(Q, D) / 10)
    projections, codebooks, x = Projections(*parts), torch.randn(Q, K, d), torch.randn(N, D)
    tasks: Tasks = {
        "floor": products(torch.randn(N, d), codebooks),
        "ours": lambda: factorised_encode(x, projections, codebooks),
    }
    return tasks | made({"dac": functools.partial(dac_residual, projections)}, x, codebooks)


def dac_residual(projections: Projections, x: Tensor, codebooks: Tensor) -> Callable[[], Any]:
    quantize = bare("dac", "nn.quantize")
    (Q, K, d), D = codebooks.shape, x.shape[1]
    peer = quantize.ResidualVectorQuantize(input_dim=D, n_codebooks=Q, codebook_size=K, codebook_dim=d).eval()
    for q, stage in enumerate(peer.quantizers):
        set_weights(stage.in_proj, projections.enter_weight[q], projections.enter_bias[q])
        set_weights(stage.out_proj, projections.leave_weight[q], projections.leave_bias[q])
        stage.codebook.weight.data.copy_(codebooks[q])
    channels_first = x.T[None].contiguous()
    return lambda: peer(channels_first)[1]


def set_weights(layer: Any, weight: Tensor, bias: Tensor) -> None:
    """Give a convolution of width one under weight norm a weight [out, in] and a bias [out]."""
    layer.weight_v.data.copy_(weight[:, :, None])
    layer.weight_g.data.copy_(weight.norm(dim=1)[:, None, None])
    layer.bias.data.copy_(bias)


def products(x: Tensor, codebooks: Tensor) -> Callable[[], Any]:
    """The matrix products alone, into one buffer of cache size."""
    rows = max(1, (1 << 19) // codebooks.shape[1])
    buffer = torch.empty(rows, codebooks.shape[1])

    def run() -> None:
        for part in x.split(rows):
            for codebook in codebooks:
                torch.mm(part, codebook.T, out=buffer[: len(part)])

    return run


def made(peers: dict[str, Callable[..., Callable[[], Any]]], x: Tensor, codebooks: Tensor) -> Tasks:
    """The peers that are installed and take these shapes."""
    tasks: Tasks = {}
    for name, make in peers.items():
        try:
            tasks[name] = make(x, codebooks)
        except (ImportError, OSError, KeyError) as error:
            print(f"# {name} is left out: {type(error).__name__} {error}", file=sys.stderr)
    return tasks


CASES: dict[str, tuple[str, Callable[[], Tasks], int]] = {
    "rvq8": ("residual 8 x 1024 x 128, N 4,500", lambda: residual(4500, 8, 1024, 128), 4500 * 1024),
    "rvq32": ("residual 32 x 1024 x 128, N 4,500", lambda: residual(4500, 32, 1024, 128), 4500 * 1024),
    "dac9": ("factorised 9 x 1024 x 8 of 1024, N 4,500", lambda: factorised(4500, 9, 1024, 1024, 8), 4500 * 1024),
    "vq4096": ("single 4096 x 512, N 4,500", lambda: single(4500, 4096, 512), 4500 * 4096),
    "vq65536": ("single 65,536 x 8, N 4,500", lambda: single(4500, 65536, 8), 4500 * 65536),
    "rvq8big": ("residual 8 x 1024 x 128, N 100,000", lambda: residual(100_000, 8, 1024, 128), 100_000 * 1024),
    "rvq32big": ("residual 32 x 1024 x 128, N 100,000", lambda: residual(100_000, 32, 1024, 128), 100_000 * 1024),
}


def peak_memory(task: Callable[[], Any]) -> int:
    """Bytes that a call holds at its peak, beside its result."""
    held = peak = 0
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the profiler sees no other; where memory is short, all threads share one budget
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        result = task()
    torch.set_num_threads(threads)
    for event in sorted(profiler.profiler.kineto_results.events(), key=lambda event: event.start_ns()):  # type: ignore[union-attr]
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak - result.numel() * result.element_size()


@torch.inference_mode()
def measure(tasks: Tasks, seconds: float, least: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Times of each task, one run of each after the other, for about `seconds` and `least` rounds."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for task in tasks.values() if least > 1 else ():
        task()  # warm up
    began = time.perf_counter()
    while len(times["ours"]) < least or (time.perf_counter() - began < seconds and len(times["ours"]) < MOST_ROUNDS):
        for name, task in tasks.items():
            start = clock()
            task()
            times[name].append(clock() - start)
    return times


def line(title: str, times: dict[str, list[float]], memory: int, scores: int) -> str:
    """One row of the table."""
    cells = [title, f"{1e3 * statistics.median(times['floor']):.1f}", f"{1e3 * statistics.median(times['ours']):.1f}"]
    for name in PEERS:
        if name in times:
            ratio = statistics.median(peer / ours for peer, ours in zip(times[name], times["ours"], strict=True))
            cells.append(f"{1e3 * statistics.median(times[name]):.0f} ({ratio:.2f}x)")
        else:
            cells.append("-")
    return "| " + " | ".join([*cells, f"{memory / (4 * scores):.3f}"]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=20, help="per case, about")
    parser.add_argument("--rounds", type=int, default=5, help="at least; one is without warming up")
    parser.add_argument("--cases", nargs="+", default=[name for name in CASES if not name.endswith("big")], choices=list(CASES))
    parser.add_argument("--peers", nargs="*", default=PEERS, choices=PEERS)
    parser.add_argument("--big", action="store_true", help="all cases, those of N 100,000 too")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    clock = time.thread_time if arguments.threads == 1 else time.perf_counter
    kind = "processor" if arguments.threads == 1 else "wall"
    print(f"torch {torch.__version__}, {arguments.threads} threads, {kind} time in ms, medians\n")
    print("| case | floor | ours | vqp | encodec | transformers | moshi | dac | memory / N x K |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in CASES if arguments.big else arguments.cases:
        title, make, scores = CASES[name]
        tasks = {name: task for name, task in make().items() if name in ("floor", "ours", *arguments.peers)}
        times = measure(tasks, arguments.seconds, arguments.rounds, clock)
        with torch.inference_mode():
            print(line(title, times, peak_memory(tasks["ours"]), scores), flush=True)


if __name__ == "__main__":
    main()
