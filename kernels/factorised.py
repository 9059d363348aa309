"""Factorised residual encode, folded: each stage projects to a few dimensions, and the residual itself is never formed.

Stage q searches z_q = W_q r_q + b_q, where r_q is x less the outputs V_j c_j + a_j of the stages before. Therefore
z_q = (W_q x + b_q) - sum_j (W_q V_j c_j + W_q a_j): one product of x with all W at once, and small tables of W_q V_j.
All of this is in 64 bits, which costs little at so few dimensions and leaves the search as the only place of doubt.

Stages: Kumar et al., "High-Fidelity Audio Compression with Improved RVQGAN" (DAC), 2023, section 3.2.
"""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from . import fused
from .chunked import PER_STAGE, chunk_rows
from .errors import ShapeError
from .launching import on_gpu
from .nearest import nearest_code
from .rescan import TIE, error_factors, exact_products
from .workers import share
from .workspace import FoldedBooks, buffers, encode_factorised

MOST_DIMENSIONS = 64  # of a code on a GPU: above, three parts of two blocks of codes do not fit its shared memory
CERTAIN_ROWS = 4096  # at a time, whose scores in 64 bits are all in memory
PROJECT_BYTES = 1 << 19  # of rows in 64 bits at a time


class Projections(NamedTuple):
    """Linear maps of all Q stages: in to d dimensions, and back out to D."""

    enter_weight: Tensor  # [Q, d, D]
    enter_bias: Tensor  # [Q, d]
    leave_weight: Tensor  # [Q, D, d]
    leave_bias: Tensor  # [Q, D]


class Folded(NamedTuple):
    """What `fold` makes of them, in 64 bits."""

    weight: Tensor  # [Q * d, D]
    bias: Tensor  # [Q * d]
    cross: Tensor  # [Q, d, Q * d]: what the code of one stage takes from the inputs of all stages after it
    unit: Tensor  # [Q, K, d], float32: normalised codes


def cosine_code(x: Tensor, codebook: Tensor) -> Tensor:
    """Index [N] of the code [K, D] with the greatest cosine to each row of x [N, D]; codes are normalised in float32."""
    unit = torch.nn.functional.normalize(codebook.detach().float(), dim=-1)
    return nearest_code(x, unit, unit.new_zeros(len(unit)))


def fold(projections: Projections, codebooks: Tensor) -> Folded:
    """Tables for `factorised_encode`, to be made again when a weight changes."""
    enter, bias, constant = (
        t.detach().double() for t in (projections.enter_weight, projections.enter_bias, projections.leave_bias)
    )
    Q, d, D = enter.shape
    weight, stages = enter.reshape(Q * d, D), torch.arange(Q, device=enter.device)
    after = (stages > stages[:, None]).repeat_interleave(d, 1).double()  # [stage, inputs of later stages]
    # stage by stage, since all outputs in 64 bits take as much memory as a search of thousands of rows
    taken = [(weight @ leave.detach().double()).T * later for leave, later in zip(projections.leave_weight, after, strict=True)]
    bias = bias.reshape(-1) - ((weight @ constant.T) * after.T).sum(1)
    unit = torch.nn.functional.normalize(codebooks.detach().float(), dim=-1)
    return Folded(weight, bias, torch.stack(taken), unit)


def factorised_encode_reference(x: Tensor, projections: Projections, codebooks: Tensor) -> Tensor:
    """The definition of `factorised_encode`: the chain as it is written in the paper, in 64 bits."""
    residual, codes = x.double(), []
    enter, bias, leave, constant = (t.double() for t in projections)
    for q, codebook in enumerate(codebooks):
        inside = residual @ enter[q].T + bias[q]
        unit = torch.nn.functional.normalize(codebook.float(), dim=-1).double()
        codes.append(_best(inside, unit))
        residual = residual - codebook[codes[-1]].double() @ leave[q].T - constant[q]
    return torch.stack(codes, dim=1)


def factorised_encode(x: Tensor, projections: Projections, codebooks: Tensor) -> Tensor:
    """Codes [N, Q], int64, of a chain of factorised stages with cosine search.

    Args:
        x: [N, D], float32.
        projections: of the Q stages.
        codebooks: [Q, K, d], float32, not normalised: stages subtract the codes as they are.

    Raises:
        ShapeError: if the shapes do not fit.
    """
    Q, d, D = projections.enter_weight.shape
    if x.dim() != 2 or x.shape[1] != D or codebooks.dim() != 3 or codebooks.shape[::2] != (Q, d):
        raise ShapeError(f"expected x [N, {D}] and codebooks [{Q}, K, {d}]; got {list(x.shape)} and {list(codebooks.shape)}")
    return _factorised_encode(x.detach().float(), *(t.detach() for t in projections), codebooks.detach().float())


@torch.library.custom_op("toneme::factorised_encode", mutates_args=())
def _factorised_encode(
    x: Tensor, enter_weight: Tensor, enter_bias: Tensor, leave_weight: Tensor, leave_bias: Tensor, codebooks: Tensor
) -> Tensor:
    folded = fold(Projections(enter_weight, enter_bias, leave_weight, leave_bias), codebooks)
    if not len(x):
        return x.new_empty((0, len(codebooks)), dtype=torch.int64)
    if on_gpu(x) and codebooks.shape[2] <= MOST_DIMENSIONS:
        from .factorised_triton import encode

        codes, doubtful = encode(x, folded, codebooks)
    elif x.device.type == "cpu":
        codes, doubtful = _encode_chunks(x.contiguous(), folded, codebooks)
    else:
        return torch.cat([_encode_certain(part, folded, codebooks) for part in x.split(CERTAIN_ROWS)])
    rows = doubtful.nonzero()[:, 0]
    if len(rows):
        codes[rows] = _encode_certain(x[rows], folded, codebooks)
    return codes


@_factorised_encode.register_fake
def _(
    x: Tensor, enter_weight: Tensor, enter_bias: Tensor, leave_weight: Tensor, leave_bias: Tensor, codebooks: Tensor
) -> Tensor:
    return x.new_empty((x.shape[0], codebooks.shape[0]), dtype=torch.int64)


def _encode_chunks(x: Tensor, folded: Folded, codebooks: Tensor) -> tuple[Tensor, Tensor]:
    """Codes [N, Q] by 32-bit search, and which rows [N] a stage of it leaves in doubt."""
    (N, D), (Q, K, d) = x.shape, codebooks.shape
    codes, doubtful = torch.empty((Q, N), dtype=torch.int64), torch.empty(N, dtype=torch.bool)
    books, none = FoldedBooks(folded.unit, codebooks, folded.cross), folded.unit.new_zeros(Q, K)
    bounds = error_factors(folded.unit, none)

    def encode_fused(parts: Iterator[slice]) -> None:
        for part in parts:
            _fused_stages(_project(x[part], folded), books, (none, *bounds), codes[:, part], doubtful[part])

    def encode_rows(parts: Iterator[slice]) -> None:
        work = None
        for part in parts:
            if work is None or work.best.shape[1] != part.stop - part.start:
                work = buffers(part.stop - part.start, Q, K, d)
            encode_factorised(_project(x[part], folded), books, none, work, codes[:, part])
            torch.logical_not((work.best - work.second > bounds[0] * work.norm).all(0), out=doubtful[part])

    in_c = fused.takes(d)
    size = partial(fused.rows_of_part, N, 2 * Q * d) if in_c else partial(chunk_rows, N, K, Q * (2 * d + PER_STAGE))
    with exact_products(x):
        share(encode_fused if in_c else encode_rows, N, size, work=2 * N * Q * (K + D) * d)
    return codes.T.contiguous(), doubtful


def _fused_stages(inside: Tensor, books: FoldedBooks, bounds: tuple[Tensor, ...], codes: Tensor, doubtful: Tensor) -> None:
    """As `workspace.factorised_stages`, by the search in C; `bounds`: half norms, and factors of the error of a score."""
    (Q, _, d), doubt = books.unit.shape, torch.empty((1, len(inside)), dtype=torch.bool)
    doubtful[:] = False
    for stage in range(Q):
        half_norms, slope, offset = (bound[stage : stage + 1] for bound in bounds)
        x, at = inside[:, stage * d : (stage + 1) * d].float(), slice(stage, stage + 1)
        fused.search(x, (books.unit[at], half_norms), (slope, offset), codes[at], doubt)
        doubtful |= doubt[0]
        if stage + 1 < Q:
            inside.addmm_(books.whole[stage].index_select(0, codes[stage]).double(), books.cross[stage], alpha=-1.0)


def _project(x: Tensor, folded: Folded) -> Tensor:
    """All stages' inputs [n, Q * d] as if no stage had been subtracted yet; a few rows at a time, since they are widened."""
    rows = max(16, PROJECT_BYTES // (8 * x.shape[1]))
    return torch.cat([torch.addmm(folded.bias, part.double(), folded.weight.T) for part in x.split(rows)])


def _encode_certain(x: Tensor, folded: Folded, codebooks: Tensor) -> Tensor:
    d, codes = codebooks.shape[2], []
    inside = torch.addmm(folded.bias, x.double(), folded.weight.T)
    for q, codebook in enumerate(codebooks):
        codes.append(_best(inside[:, q * d : (q + 1) * d], folded.unit[q].double()))
        inside = inside - codebook[codes[-1]].double() @ folded.cross[q]
    return torch.stack(codes, dim=1)


def _best(inside: Tensor, unit: Tensor) -> Tensor:
    """Greatest product in 64 bits, the lowest index where they cannot be told apart."""
    scores = inside @ unit.T
    floor = scores.amax(1, keepdim=True) - TIE * inside.norm(dim=1, keepdim=True)
    return torch.where(scores < floor, len(unit), torch.arange(len(unit), device=unit.device)).amin(1).clamp(max=len(unit) - 1)
