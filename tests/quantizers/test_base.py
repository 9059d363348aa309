"""What every quantizer promises: codes in range, forward equal to decode of encode, gradients, a state that carries over."""

import pytest
import torch

from toneme.kernels.errors import ShapeError
from toneme.quantizers.base import measure, sample_depths, to_rows
from toneme.quantizers.euclidean import EuclideanVQ
from toneme.quantizers.factorised import ResidualFactorisedVQ
from toneme.quantizers.grouped import Grouped
from toneme.quantizers.kmeans import KMeansTokenizer
from toneme.quantizers.lookup_free import BSQ, LFQ
from toneme.quantizers.multicodebook import MultiCodebookVQ
from toneme.quantizers.residual import ResidualVQ
from toneme.quantizers.scalar import FSQ, ResidualFSQ
from toneme.quantizers.simvq import SimVQ
from toneme.quantizers.split import SplitResidualVQ

DIM = 12
MAKERS = {
    "euclidean": lambda: EuclideanVQ(DIM, 16),
    "residual": lambda: ResidualVQ(DIM, 16, 3),
    "residual rotation": lambda: ResidualVQ(DIM, 16, 3, gradient="rotation"),
    "residual per stage": lambda: ResidualVQ(DIM, 16, 3, per_stage=True),
    "residual compat": lambda: ResidualVQ(DIM, 16, 3, upstream_compat=True),
    "split": lambda: SplitResidualVQ(DIM, 16, 4, code_dim=6),
    "split in half": lambda: SplitResidualVQ(DIM, 16, 4, semantic=2, code_dim=6),
    "factorised": lambda: ResidualFactorisedVQ(DIM, 16, 3, code_dim=4),
    "factorised rotation": lambda: ResidualFactorisedVQ(DIM, 16, 3, code_dim=4, gradient="rotation"),
    "grouped": lambda: Grouped(lambda: ResidualVQ(DIM // 2, 16, 2), 2),
    "fsq": lambda: FSQ((5, 4, 3), DIM),
    "fsq symmetric": lambda: FSQ((5, 4, 3), DIM, symmetric=True),
    "residual fsq": lambda: ResidualFSQ((5, 4, 3), 3, DIM),
    "lfq": lambda: LFQ(6, DIM),
    "bsq": lambda: BSQ(6, DIM),
    "simvq": lambda: SimVQ(DIM, 16),
    "k-means": lambda: KMeansTokenizer(DIM, 16),
    "multi-codebook": lambda: MultiCodebookVQ(DIM, 16, 3),
}


@pytest.fixture(params=sorted(MAKERS))
def quantizer(request):
    torch.manual_seed(0)
    made = MAKERS[request.param]()
    if isinstance(made, KMeansTokenizer):
        made.partial_fit(torch.randn(4, DIM, 100))
    return made.eval()


@pytest.fixture
def latents():
    return torch.randn(2, DIM, 30, generator=torch.Generator().manual_seed(1))


def test_codes_are_in_range_and_shape(quantizer, latents):
    codes = quantizer.encode(latents)
    assert codes.shape == (2, quantizer.depth, 30)
    assert codes.dtype == torch.int64
    sizes = torch.tensor(quantizer.sizes)[:, None]
    assert ((codes >= 0) & (codes < sizes)).all()


def test_forward_is_decode_of_encode(quantizer, latents):
    result = quantizer(latents)
    assert torch.equal(result.codes, quantizer.encode(latents))
    assert torch.allclose(result.latents, quantizer.decode(result.codes), atol=1e-5)
    assert result.usage.shape == result.perplexity.shape == (quantizer.depth,)
    assert ((result.perplexity >= 1 - 1e-4) & (result.perplexity <= torch.tensor(quantizer.sizes) + 1e-2)).all()


def test_each_frame_is_coded_by_itself(quantizer, latents):
    assert torch.equal(quantizer.encode(latents)[:, :, 7:9], quantizer.encode(latents[:, :, 7:9]))


def test_a_gradient_reaches_the_latents(quantizer, latents):
    latents.requires_grad_()
    result = quantizer(latents)
    (gradient,) = torch.autograd.grad((result.latents * torch.randn_like(latents)).sum(), latents)
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0


def test_state_carries_over(quantizer, latents):
    torch.manual_seed(9)
    other = next(make() for make in MAKERS.values() if _same_kind(make, quantizer))
    other.load_state_dict(quantizer.state_dict())
    assert torch.equal(other.eval().encode(latents), quantizer.encode(latents))


def test_latents_of_another_size_are_refused(quantizer):
    with pytest.raises((ShapeError, RuntimeError)):
        quantizer.encode(torch.randn(2, DIM + 1, 5))


@pytest.mark.parametrize("name", ["residual", "factorised", "residual fsq", "split", "split in half"])
def test_fewer_codebooks_are_a_prefix(name, latents):
    torch.manual_seed(0)
    quantizer = MAKERS[name]().eval()
    full = quantizer.encode(latents)
    for depth in range(1, quantizer.depth + 1):
        assert torch.equal(quantizer.encode(latents, depth), full[:, :depth])
    depths = torch.tensor([1, quantizer.depth])
    result = quantizer(latents, depths)
    for item, depth in enumerate(depths.tolist()):
        expected = quantizer.decode(full[item : item + 1, :depth])
        assert torch.allclose(result.latents[item : item + 1], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "learned"), [("factorised", "stages.0.codebook"), ("simvq", "map.weight"), ("multi-codebook", "codebooks")]
)
def test_commitment_moves_the_input_alone_and_the_codebook_loss_the_codes(name, learned, latents):
    quantizer = MAKERS[name]()
    result = quantizer(latents.requires_grad_())
    pair = latents, quantizer.get_parameter(learned)
    moved = []
    for loss in (result.commitment, result.codebook):
        gradients = torch.autograd.grad(loss, pair, retain_graph=True, allow_unused=True)
        moved.append([gradient is not None and bool(gradient.any()) for gradient in gradients])
    assert moved == [[True, False], [False, True]]


def test_depth_dropout_draws_every_depth():
    drawn = sample_depths(2000, 4, keep=0.5, generator=torch.Generator().manual_seed(0))
    counts = torch.bincount(drawn, minlength=5)
    assert counts[0] == 0
    assert counts[4] > 1000
    assert (counts[1:4] > 180).all()
    mostly_all = sample_depths(2000, 4, keep=0.9, generator=torch.Generator().manual_seed(0))
    assert (mostly_all == 4).sum() > 1750


def test_usage_and_perplexity_of_known_codes():
    codes = torch.tensor([[[0, 0, 1, 1]], [[2, 2, 3, 3]]])
    usage, perplexity = measure(codes, (8,))
    assert usage.tolist() == [0.5]
    assert perplexity[0].item() == pytest.approx(4)


def test_rows_are_frames():
    latents = torch.arange(12.0).view(2, 2, 3)
    assert torch.equal(to_rows(latents, 2)[1], latents[0, :, 1])


def _same_kind(make, quantizer) -> bool:
    made = make()
    shapes = [{k: v.shape for k, v in q.state_dict().items()} for q in (made, quantizer)]
    return (
        type(made) is type(quantizer)
        and shapes[0] == shapes[1]
        and str(vars(made).get("symmetric")) == str(vars(quantizer).get("symmetric"))
    )
