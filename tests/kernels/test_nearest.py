"""nearest_code and rvq_encode against their 64-bit definitions."""

import pytest
import torch

from toneme.kernels import half_norms, nearest_code, nearest_code_reference, rvq_encode, rvq_encode_reference
from toneme.kernels.errors import ShapeError
from toneme.quantizers.kmeans import kmeans

pytestmark = pytest.mark.usefixtures("each_search")


@pytest.mark.parametrize(
    ("n", "k", "d"), [(1, 1, 1), (7, 5, 3), (12, 300, 16), (13, 300, 16), (1000, 37, 8), (300, 1024, 128), (50, 4096, 20)]
)
def test_equals_the_definition(n, k, d):
    generator = torch.Generator().manual_seed(n + k + d)
    x, codebook = torch.randn(n, d, generator=generator), torch.randn(k, d, generator=generator)
    assert torch.equal(nearest_code(x, codebook), nearest_code_reference(x, codebook))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_norms_of_half_precision_choose_the_codes_of_the_definition(dtype):
    generator = torch.Generator().manual_seed(0)
    x, codebook = torch.randn(500, 64, generator=generator).to(dtype), torch.randn(1024, 64, generator=generator).to(dtype)
    expected = nearest_code_reference(x.float(), codebook.float())
    assert torch.equal(nearest_code(x, codebook, half_norms(codebook)), expected)


def test_lowest_index_wins_ties():
    codebook = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
    codes = nearest_code(torch.randn(100, 16), torch.cat([codebook, codebook]))
    assert (codes < 64).all()


def test_residual_chain_equals_the_definition():
    generator = torch.Generator().manual_seed(3)
    x, codebooks = torch.randn(600, 24, generator=generator), torch.randn(6, 100, 24, generator=generator)
    assert torch.equal(rvq_encode(x, codebooks), rvq_encode_reference(x, codebooks))


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match="nearest_code takes"):
        nearest_code(torch.zeros(3, 4), torch.zeros(8, 5))
    with pytest.raises(ShapeError, match="rvq_encode takes"):
        rvq_encode(torch.zeros(3, 4), torch.zeros(8, 4))
    for half in (torch.zeros(2, 7), torch.zeros(1, 8), torch.zeros(2, 8, 1), torch.zeros(16)):
        with pytest.raises(ShapeError, match="half norms are one for each code"):
            rvq_encode(torch.zeros(3, 4), torch.zeros(2, 8, 4), half)


def test_tensors_of_several_devices_are_refused():
    x, codebook, half = torch.zeros(3, 4), torch.zeros(8, 4), torch.zeros(8)
    for given in ((x, codebook.to("meta")), (x, codebook, half.to("meta")), (x, codebook.to("meta"), half.to("meta"))):
        with pytest.raises(ShapeError, match="on the device of x, cpu; got meta"):
            nearest_code(*given)


def near_ties(n: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows almost halfway between two codes, closer than 32-bit scores can tell apart."""
    codebook = torch.randn(256, 64, generator=generator) + 4
    pairs = torch.randint(0, 256, (n, 2), generator=generator)
    return codebook[pairs].mean(1) + 1e-5 * torch.randn(n, 64, generator=generator), codebook


def test_near_ties_equal_the_definition():
    x, codebook = near_ties(2000, torch.Generator().manual_seed(1))
    plain = torch.addmm(-codebook.square().sum(1) / 2, x, codebook.T).argmax(1)
    expected = nearest_code_reference(x, codebook)
    assert (plain != expected).any(), "the rows must be hard, or this test proves nothing"
    assert torch.equal(nearest_code(x, codebook), expected)


def test_codes_do_not_depend_on_the_batch_the_threads_or_the_callers_precision():
    generator = torch.Generator().manual_seed(2)
    x, codebooks = torch.randn(1500, 64, generator=generator), torch.randn(3, 300, 64, generator=generator)
    expected = rvq_encode(x, codebooks)
    assert torch.equal(torch.cat([rvq_encode(part, codebooks) for part in x.split(7)]), expected)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert torch.equal(rvq_encode(x, codebooks), expected)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(rvq_encode(x, codebooks), expected)


def test_zero_half_norms_search_for_the_greatest_cosine():
    generator = torch.Generator().manual_seed(4)
    x, codebook = torch.randn(500, 8, generator=generator), torch.randn(100, 8, generator=generator)
    unit = torch.nn.functional.normalize(codebook, dim=1)
    expected = (x.double() @ unit.double().T).argmax(1)
    assert torch.equal(nearest_code(x, unit, torch.zeros(100)), expected)


def test_values_that_are_not_finite_give_codes_in_range():
    x = torch.randn(6, 4)
    x[1], x[2], x[3] = torch.nan, torch.inf, -torch.inf
    codes = nearest_code(x, torch.rand(37, 4))
    assert ((codes >= 0) & (codes < 37)).all()


def test_no_rows_and_no_codes():
    assert rvq_encode(torch.zeros(0, 4), torch.zeros(2, 8, 4)).shape == (0, 2)
    assert rvq_encode(torch.zeros(3, 4), torch.zeros(0, 8, 4)).shape == (3, 0)
    with pytest.raises(ShapeError, match="at least one code"):
        rvq_encode(torch.zeros(3, 4), torch.zeros(1, 0, 4))


def test_compile_and_export_see_through():
    codebooks = torch.randn(2, 16, 4)

    class Encode(torch.nn.Module):
        def forward(self, x):
            return rvq_encode(x, codebooks) + 1

    x = torch.randn(9, 4)
    expected = rvq_encode(x, codebooks) + 1
    assert torch.equal(torch.compile(Encode(), backend="aot_eager", fullgraph=True)(x), expected)
    assert torch.equal(torch.export.export(Encode(), (x,)).module()(x), expected)
    torch.library.opcheck(torch.ops.toneme.rvq_encode, (x, codebooks, codebooks.square().sum(-1) / 2))


def trained_codebooks() -> tuple[torch.Tensor, torch.Tensor]:
    """Correlated latents [3000, 64], and four codebooks of 256 that k-means fitted to others like them."""
    torch.manual_seed(0)
    basis = torch.randn(64, 64) / 8 * torch.linspace(1, 0.05, 64)
    latents = torch.randn(9000, 64) @ basis
    residual, codebooks = latents[3000:], []
    for _ in range(4):
        centres, codes = kmeans(residual, 256, 4)
        codebooks.append(centres)
        residual = residual - centres[codes]
    return latents[:3000], torch.stack(codebooks)


def test_trained_codebooks_equal_the_definition_where_low_precision_does_not():
    x, codebooks = trained_codebooks()
    expected = rvq_encode_reference(x, codebooks)
    assert torch.equal(rvq_encode(x, codebooks), expected)
    rough = (x.bfloat16().float() @ codebooks[0].bfloat16().float().T - codebooks[0].square().sum(1) / 2).argmax(1)
    assert (rough != expected[:, 0]).any(), "the rows must be hard, or this test proves nothing"


def test_the_shipped_models_codes_equal_the_definition(trained_on_recordings):
    x, codebooks = trained_on_recordings
    assert len(x) > 1000
    expected = rvq_encode_reference(x, codebooks)
    codes = rvq_encode(x, codebooks)
    assert torch.equal(codes, expected)
    assert torch.equal(rvq_encode(x, codebooks), codes)
    assert torch.equal(torch.cat([rvq_encode(part, codebooks) for part in x[:200].split(9)]), expected[:200])
    residual = x.clone()
    for codebook, code in zip(codebooks, codes.unbind(1), strict=True):  # each stage by itself, on what the codes before left
        assert torch.equal(nearest_code(residual, codebook), nearest_code_reference(residual, codebook))
        residual = residual - codebook[code]
    rough = (x.bfloat16().float() @ codebooks[0].bfloat16().float().T - codebooks[0].square().sum(1) / 2).argmax(1)
    assert (rough != expected[:, 0]).any(), "the rows must be hard, or this test proves nothing"


def test_the_shipped_models_near_ties_equal_the_definition(trained):
    """Rows halfway between a trained code and its nearest neighbour, to within 32-bit rounding."""
    _, codebooks = trained
    codebook = codebooks[0]
    neighbour = torch.cdist(codebook.double(), codebook.double()).fill_diagonal_(torch.inf).argmin(1)
    x = (codebook + codebook[neighbour]) / 2
    expected = nearest_code_reference(x, codebook)
    plain = torch.addmm(-codebook.square().sum(1) / 2, x, codebook.T).argmax(1)
    assert (plain != expected).any(), "the rows must be hard, or this test proves nothing"
    assert torch.equal(nearest_code(x, codebook), expected)
