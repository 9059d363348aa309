"""The kernels on a GPU: exactness first, then time beside the peers' formulas and the floors, in one table.

    python -P benchmarks/gpu.py [--rounds 20] [--cases encodec wavtokenizer ...] [--out FILE] [--limit 180]
    python -P benchmarks/gpu.py --dry

It needs PyTorch for CUDA with its Triton, and this checkout; neither Toneme nor a peer has to be installed. With --dry the same
cases run through once at tiny sizes, without a GPU: the kernels under Triton's interpreter, and no times.

A case whose codes differ from the 64-bit definition prints no time, and the run ends with status 1. So does one that fails,
takes longer than --limit seconds, or takes the process down with it; the others go on, in another process if need be. Rows are
printed, and added to --out, as they come.

Times are medians of CUDA events, runs interleaved, after warming up. `eager` is the arithmetic of vector-quantize-pytorch (its
package where a class fits, its formula elsewhere), `compiled` torch.compile of cdist and argmin. The floor is that of three
16-bit products for each 32-bit one at the measured rate of the tensor cores, or of the bytes that must move at that of the
memory, whichever is longer.
"""

# ruff: noqa: E402  # what is imported must be found first

import argparse
import faulthandler
import importlib.util
import os
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]


def use_checkout() -> None:
    """Make `toneme` importable from the folders beside this one, which an installation would map."""
    home = ROOT / "toneme"
    found = importlib.util.spec_from_file_location(
        "toneme", home / "__init__.py", submodule_search_locations=[str(home), str(ROOT)]
    )
    assert found is not None
    assert found.loader is not None
    sys.modules["toneme"] = package = importlib.util.module_from_spec(found)
    found.loader.exec_module(package)


if importlib.util.find_spec("toneme") is None:
    use_checkout()

from toneme.kernels import half_norms, nearest_code_reference, rvq_encode
from toneme.kernels.decode import rvq_decode, rvq_decode_reference
from toneme.kernels.factorised import Projections, factorised_encode, factorised_encode_reference
from toneme.kernels.nearest import rvq_encode_reference
from toneme.kernels.rotation import rotate, rotate_reference
from toneme.kernels.snake import snake, snake_reference
from toneme.kernels.statistics import code_statistics
from toneme.quantizers.kmeans import kmeans
from toneme.quantizers.residual import ResidualVQ

DRY = "--dry" in sys.argv
if DRY:
    os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is imported, which the kernels do at their first call

CHECKED_ROWS = 4096
BEGINS = "begins:"  # what a process says before a case
DEVICE = "cpu" if DRY else "cuda"


def sized(full: int, tiny: int) -> int:
    """A size of the benchmark, or the tiny one of a dry run."""
    return tiny if DRY else full


@dataclass
class Case:
    """One row of the table: what is timed, whether it is right, and what it must cost at least."""

    title: str
    ours: Callable[[], Any]
    right: Callable[[], bool]
    eager: Callable[[], Any] | None
    flops: float
    bytes: float
    compiled: Callable[[], Any] | None = None


def trained(N: int, Q: int, K: int, D: int) -> tuple[Tensor, Tensor]:
    """Correlated latents [N, D], and codebooks [Q, K, D] that a few rounds of k-means fitted to them."""
    basis = torch.randn(D, D, device=DEVICE) / D**0.5 * torch.linspace(1, 0.05, D, device=DEVICE)
    latents = torch.randn(N + 8 * K, D, device=DEVICE) @ basis
    residual, codebooks = latents[N:], []
    for _ in range(Q):
        centres, codes = kmeans(residual, K, 4)
        codebooks.append(centres)
        residual = residual - centres[codes]
    return latents[:N].contiguous(), torch.stack(codebooks)


def by_distance(x: Tensor, codebooks: Tensor) -> Tensor:
    """Codes by the arithmetic of vector-quantize-pytorch: squares, product, root, arg-max."""
    codes = []
    for codebook in codebooks:
        squares = x.square().sum(1, keepdim=True) + codebook.square().sum(1) - 2 * x @ codebook.T
        codes.append((-squares.clamp(min=0).sqrt()).argmax(1))
        x = x - codebook[codes[-1]]
    return torch.stack(codes, 1)


def by_cdist(x: Tensor, codebooks: Tensor) -> Tensor:
    codes = []
    for codebook in codebooks:
        codes.append(torch.cdist(x, codebook).argmin(1))
        x = x - codebook[codes[-1]]
    return torch.stack(codes, 1)


def search(title: str, N: int, Q: int, K: int, D: int) -> Case:
    """Euclidean residual encode; one codebook is the case Q = 1."""
    x, codebooks = trained(N, Q, K, D)
    half, compiled = half_norms(codebooks), torch.compile(by_cdist, dynamic=False)
    part = x[:CHECKED_ROWS]
    return Case(
        f"{title}: N {N:,} Q {Q} K {K:,} D {D}",
        lambda: rvq_encode(x, codebooks, half),
        lambda: torch.equal(rvq_encode(x, codebooks)[: len(part)], rvq_encode_reference(part, codebooks)),
        lambda: by_distance(x, codebooks),
        3 * 2 * N * Q * K * D,
        4 * (N * D + Q * K * D) + 8 * N * Q,
        None if DRY else lambda: compiled(x, codebooks),
    )


def factorised() -> Case:
    """DAC's 9 stages of 8 dimensions, against the chain as it is written."""
    N, Q, K, D, d = sized(32768, 70), 9, sized(1024, 130), sized(1024, 32), 8
    normal = torch.randn
    parts = (normal(Q, d, D) / D**0.5, normal(Q, d) / 10, normal(Q, D, d) / d**0.5, normal(Q, D) / 10)
    projections, codebooks = Projections(*(part.to(DEVICE) for part in parts)), normal(Q, K, d).to(DEVICE)
    x = normal(N, D, device=DEVICE)

    def eager() -> Tensor:
        residual, codes = x, []
        for q in range(Q):
            inside = residual @ projections.enter_weight[q].T + projections.enter_bias[q]
            a, b = (torch.nn.functional.normalize(t, dim=1) for t in (inside, codebooks[q]))
            distance = a.square().sum(1, keepdim=True) - 2 * a @ b.T + b.square().sum(1)
            codes.append((-distance).max(1).indices)
            residual = residual - codebooks[q][codes[-1]] @ projections.leave_weight[q].T - projections.leave_bias[q]
        return torch.stack(codes, 1)

    def right() -> bool:
        part = x[:CHECKED_ROWS]
        return torch.equal(
            factorised_encode(x, projections, codebooks)[: len(part)], factorised_encode_reference(part, projections, codebooks)
        )

    flops = 6 * 2 * N * Q * K * 16 + 15 * 2 * N * D * Q * d  # the product in 64 bits runs at a fifteenth of the rate
    ours = lambda: factorised_encode(x, projections, codebooks)  # noqa: E731
    return Case("folded DAC: N 32,768", ours, right, eager, flops, 4 * N * D)


def statistics_case() -> Case:
    """Sums for the moving averages of 8 codebooks, against one-hot products."""
    N, Q, K, D = sized(32768, 50), 8, sized(1024, 30), sized(128, 20)
    rows, codes = torch.randn(N, D, device=DEVICE), torch.randint(K, (N, Q), device=DEVICE)
    peak = rows.abs().amax()

    def ours() -> Any:
        return [code_statistics(codes[:, q].contiguous(), rows, K, peak) for q in range(Q)]

    def eager() -> Any:
        hot = [torch.nn.functional.one_hot(codes[:, q], K).to(rows.dtype) for q in range(Q)]
        return [(one.sum(0), one.T @ rows) for one in hot]

    def right() -> bool:
        exact = torch.zeros(K, D, device=DEVICE, dtype=torch.float64).index_add_(0, codes[:, 0], rows.double())
        first, second = ours()[0], ours()[0]
        close = torch.allclose(first.float_sums(torch.float64), exact, atol=1e-4)
        return close and torch.equal(first.sums, second.sums)

    return Case("statistics: N 32,768 Q 8 D 128", ours, right, eager, 0, Q * N * (4 * D + 8))


def decode_case() -> Case:
    N, Q, K, D = sized(32768, 40), sized(32, 3), sized(1024, 30), sized(128, 20)
    codes, codebooks = torch.randint(K, (N, Q), device=DEVICE), torch.randn(Q, K, D, device=DEVICE)
    ours, eager = (lambda: rvq_decode(codes, codebooks)), (lambda: rvq_decode_reference(codes, codebooks))
    return Case("decode: N 32,768 Q 32 D 128", ours, lambda: torch.equal(ours(), eager()), eager, 0, N * (4 * D + 8 * Q))


def gradient_case(title: str, ours: Callable[..., Tensor], eager: Callable[..., Tensor], *tensors: Tensor) -> Case:
    """Forward and backward of a function of tensors that require gradients."""
    upstream = torch.randn_like(tensors[0])

    def run(function: Callable[..., Tensor]) -> list[Tensor]:
        inputs = [t.detach().requires_grad_(t.requires_grad) for t in tensors]
        wanted = [t for t in inputs if t.requires_grad]
        return list(torch.autograd.grad(function(*inputs), wanted, upstream))

    def right() -> bool:
        pairs = zip(run(ours), run(eager), strict=True)
        return all(bool((a - b).abs().amax() <= 1e-4 * b.abs().amax()) for a, b in pairs)  # 32-bit sums of 262,144 values

    return Case(title, lambda: run(ours), right, lambda: run(eager), 0, 5 * 4 * tensors[0].numel())


def peer_quantizer(codebooks: Tensor) -> torch.nn.Module | None:
    """The ResidualVQ of vector-quantize-pytorch with these codebooks [Q, K, D], if that is installed."""
    try:
        from vector_quantize_pytorch import ResidualVQ as Peer
    except ImportError:
        return None
    Q, K, D = codebooks.shape
    peer = Peer(dim=D, codebook_size=K, num_quantizers=Q, rotation_trick=False, threshold_ema_dead_code=0).to(DEVICE)
    for layer, codebook in zip(peer.layers, codebooks, strict=True):
        layer._codebook.embed.data.copy_(codebook[None])
        layer._codebook.initted.fill_(True)
    return peer


def training_step() -> Case:
    """Forward, backward and moving averages of 8 codebooks, against vector-quantize-pytorch's ResidualVQ."""
    N, Q, K, D = sized(32768, 300), sized(8, 2), sized(1024, 40), sized(128, 16)
    x, codebooks = trained(N, Q, K, D)
    latents, upstream = x.T[None].contiguous(), torch.randn(1, D, N, device=DEVICE)
    mine = ResidualVQ(D, K, Q, revive_below=0.0, per_stage=True).to(DEVICE)
    mine.codebooks.copy_(codebooks)
    mine.sums.copy_(codebooks)
    peer = peer_quantizer(codebooks)

    def ours() -> Tensor:
        inputs = latents.clone().requires_grad_()
        result = mine(inputs)
        return torch.autograd.grad((result.latents * upstream).sum() + result.commitment, inputs)[0]

    def eager() -> Tensor:
        assert peer is not None
        inputs = latents.clone().requires_grad_()
        out, _, loss = peer(inputs.transpose(1, 2))
        return torch.autograd.grad((out.transpose(1, 2) * upstream).sum() + loss.mean(), inputs)[0]

    def right() -> bool:
        mine.eval()
        codes = mine.encode(latents)[0, 0, :CHECKED_ROWS]
        same = torch.equal(codes, nearest_code_reference(x[:CHECKED_ROWS], mine.codebooks[0]))
        mine.train()
        return same

    theirs = None if peer is None else eager
    return Case("training step: N 32,768 Q 8", ours, right, theirs, 3 * 2 * N * Q * K * D, Q * N * D * 4 * 3)


def rotation_case() -> Case:
    shape = sized(32768, 40), sized(128, 20)
    x, code = torch.randn(*shape, device=DEVICE, requires_grad=True), torch.randn(*shape, device=DEVICE)
    return gradient_case("rotation: N 32,768 D 128", rotate, rotate_reference, x, code)


def snake_case() -> Case:
    x = torch.randn(sized(8, 2), sized(256, 3), sized(32768, 1100), device=DEVICE, requires_grad=True)
    alpha = torch.rand(x.shape[1], device=DEVICE).add(0.5).requires_grad_()
    return gradient_case("Snake: 8 x 256 x 32,768", snake, lambda a, b: snake_reference(a, b, b), x, alpha)


def search_sized(title: str, full: tuple[int, int, int, int], tiny: tuple[int, int, int, int]) -> Callable[[], Case]:
    return lambda: search(title, *(tiny if DRY else full))


CASES: dict[str, Callable[[], Case]] = {
    "encodec": search_sized("EnCodec", (32768, 32, 1024, 128), (300, 2, 40, 16)),
    "mimi": search_sized("Mimi", (16384, 32, 2048, 256), (260, 2, 40, 32)),
    "streaming": search_sized("Mimi, one step of 16 streams", (16, 32, 2048, 256), (16, 3, 70, 32)),
    "wavtokenizer": search_sized("WavTokenizer", (32768, 1, 4096, 512), (260, 1, 40, 320)),
    "semanticodec": search_sized("SemantiCodec", (8192, 1, 32768, 768), (260, 1, 70, 300)),
    "small": search_sized("65,536 x 8", (32768, 1, 65536, 8), (300, 1, 300, 8)),
    "dac": factorised,
    "statistics": statistics_case,
    "decode": decode_case,
    "rotation": rotation_case,
    "snake": snake_case,
    "training": training_step,
}


def milliseconds(task: Callable[[], Any]) -> float:
    if DRY:
        began = time.perf_counter()
        task()
        return 1e3 * (time.perf_counter() - began)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    task()
    end.record()
    end.synchronize()
    return start.elapsed_time(end)


def rates() -> tuple[float, float]:
    """Measured bfloat16 products per second and bytes per second of this card."""
    a = torch.randn(8192, 8192, device=DEVICE, dtype=torch.bfloat16)
    source = torch.empty(1 << 30, device=DEVICE, dtype=torch.int8)
    target = torch.empty_like(source)
    product = statistics.median(milliseconds(lambda: a @ a) for _ in range(20))
    copy = statistics.median(milliseconds(lambda: target.copy_(source)) for _ in range(20))
    return 2 * 8192**3 / product * 1e3, 2 * source.numel() / copy * 1e3


def row(case: Case, rounds: int, flops: float, bandwidth: float) -> str:
    """The table's row of a case: its floor, and the medians of ours and the others."""
    tasks = {"ours": case.ours} | {k: v for k, v in (("eager", case.eager), ("compiled", case.compiled)) if v is not None}
    absent = {"eager": "not installed" if case.eager is None else "", "compiled": "-" if case.compiled is None else ""}
    times: dict[str, list[float]] = {name: [] for name in tasks}
    warm = 0 if DRY else 3  # turns that compile and warm up
    for turn in range(rounds + warm):
        for name, task in list(tasks.items()):
            try:
                elapsed = milliseconds(task)
            except Exception as error:
                if name == "ours":
                    raise
                absent[name] = f"failed: {brief(error)}"
                del tasks[name]
                continue
            if turn >= warm:
                times[name].append(elapsed)
    medians = {name: statistics.median(times[name]) for name in tasks}
    floor = 1e3 * max(case.flops / flops, case.bytes / bandwidth)
    cells = [case.title, f"{floor:.3f}", f"{medians['ours']:.3f} ({medians['ours'] / floor:.1f} floors)"]
    for name, missing in absent.items():
        cells.append(missing or f"{medians[name]:.3f} ({medians[name] / medians['ours']:.1f}x)")
    return "| " + " | ".join(cells) + " |"


def brief(error: BaseException) -> str:
    """An error in one cell of a table."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:120].replace("|", "/")


def measure(name: str, rounds: int, flops: float, bandwidth: float) -> tuple[str, bool]:
    """The row of one case, and whether it is right."""
    try:
        case = CASES[name]()
        if case.right():
            return row(case, rounds, flops, bandwidth), True
        return f"| {case.title} | WRONG: not the codes or values of the definition | | | |", False
    except Exception as error:
        traceback.print_exc()
        return f"| {name} | FAILED: {brief(error)} | | | |", False


def measure_all(names: list[str], rounds: int, limit: float) -> int:
    """Print the card and the row of each case; 1 if one was not right. What a failure left of the GPU ends the process."""
    torch.manual_seed(0)
    flops, bandwidth = rates()
    card = f"{torch.cuda.get_device_name()}, torch {torch.__version__}, triton {triton_version()}"
    print(f"{card}, {flops / 1e12:.0f} bf16 TFLOP/s and {bandwidth / 1e12:.2f} TB/s measured\n")
    print("| case | floor ms | ours ms | eager ms | compiled ms |\n|---|---|---|---|---|", flush=True)
    wrong = 0
    for name in names:
        faulthandler.dump_traceback_later(limit, exit=True)
        print(BEGINS, name, flush=True)
        line, right = measure(name, rounds, flops, bandwidth)
        print(line, flush=True)
        wrong += not right
        torch.cuda.synchronize()  # raises after an illegal access, with which nothing more can be measured here
        torch.cuda.empty_cache()
    faulthandler.cancel_dump_traceback_later()
    return int(wrong > 0)


def triton_version() -> str:
    import triton

    return triton.__version__


def supervise(start: Callable[[list[str]], list[str]], names: list[str], tell: Callable[[str], None]) -> int:
    """Run the command that `start` gives for the cases, and again for those after one that took the process down.

    A process says `BEGINS` before each case, and then its row, which begins with a bar; what it says before the first is the
    heading, and told once. 1 if a case was not right.
    """
    wrong, told = False, False
    while names:
        begun = done = 0
        with subprocess.Popen(start(names), stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for line in child.stdout:
                if line.startswith(BEGINS):
                    begun += 1
                elif begun or not told:
                    done += begun > 0 and line.startswith("|")
                    tell(line)
        wrong, told = wrong or child.returncode != 0, True
        if not begun:
            tell(f"the process ended with status {child.returncode} before the first case\n")
            return 1
        if begun > done:
            tell(f"| {names[done]} | FAILED: the process ended with status {child.returncode} | | | |\n")
        names = names[begun:]
    return int(wrong)


def teller(out: Path | None) -> Callable[[str], None]:
    """What prints a line, and adds it to a file where there is one."""

    def tell(line: str) -> None:
        print(line, end="", flush=True)
        if out is not None:
            with out.open("a") as file:
                file.write(line)

    return tell


def main() -> int:
    """Run the cases in a process of their own, or in this one as such a process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--out", type=Path, help="file that the rows are added to")
    parser.add_argument("--limit", type=float, default=180, help="seconds that a case may take")
    parser.add_argument("--dry", action="store_true", help="tiny sizes under Triton's interpreter; needs no GPU")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if DRY:
        return dry_run(given.cases)
    if not torch.cuda.is_available():
        print("no GPU: this benchmark needs one; --dry runs it through without", file=sys.stderr)
        return 1
    if given.here:
        return measure_all(given.cases, given.rounds, given.limit)
    fixed = [sys.executable, "-P", __file__, "--here", f"--rounds={given.rounds}", f"--limit={given.limit}", "--cases"]
    return supervise(lambda names: [*fixed, *names], given.cases, teller(given.out))


def dry_run(names: list[str]) -> int:
    """Every case once, on the CPU as if it were a GPU; whether all are right."""
    Tensor.is_cuda = property(lambda _: True)  # type: ignore[assignment]  # so that the kernels are what is called
    torch.manual_seed(0)
    wrong = 0
    for name in names:
        line, right = measure(name, 1, 1.0, 1.0)
        print(f"{name}: {'right' if right else 'WRONG'}: {line}", flush=True)
        wrong += not right
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
