"""DAC exported: chunks that overlap by what a frame sees, factorised codes, a decoder that does not keep its length."""

import pytest
import torch

from toneme.codecs.dac import DacCodec, DacConfig
from toneme.codecs.layers.dac_blocks import DacBlocksConfig
from toneme.export.dac import FactorisedTable, FoldedSearch
from toneme.export.folder import export_codec
from toneme.export.runtime import StreamingCodec

from .agreement import check_share
from .families import check_chunks, check_cuts, check_depths, check_lengths

SMALL = DacConfig(1000, DacBlocksConfig(8, (2, 5), 32, 32, keeps_length=False), 4, 32, 4)


@pytest.fixture(scope="module")
def codec() -> DacCodec:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DacCodec(SMALL, "small-dac").eval()


@pytest.fixture(scope="module")
def exported(codec, tmp_path_factory) -> StreamingCodec:
    folder = tmp_path_factory.mktemp("export") / "dac"
    export_codec(codec, folder)
    return StreamingCodec(folder)


def test_the_folded_search_is_the_quantizers(codec):
    latents = torch.randn(2, 32, 200, generator=torch.Generator().manual_seed(0))
    found = FoldedSearch(codec.quantizer, 3)(latents.transpose(1, 2))
    check_share(found.numpy(), codec.quantizer.encode(latents, 3).numpy(), least=0.99)


def test_the_table_is_the_quantizers(codec):
    codes = torch.randint(0, 32, (2, 4, 50), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        table = FactorisedTable(codec.quantizer, 4)
        torch.testing.assert_close(table(codes), codec.quantizer.decode(codes), atol=1e-5, rtol=1e-5)
        shallow = torch.cat([codes[:, :2], torch.full((2, 2, 50), -1)], dim=1)
        torch.testing.assert_close(table(shallow), codec.quantizer.decode(codes[:, :2]), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_any_length_is_pytorchs(codec, exported):
    check_lengths(codec, exported, (1, 10, 11, 333, 3999, 12000))


@pytest.mark.slow
def test_chunks_as_short_as_asked_for_are_pytorchs(codec, exported):
    check_chunks(codec, exported.folder, 0.2, 3511)


@pytest.mark.slow
def test_any_cut_gives_the_whole(codec, exported):
    check_cuts(codec, exported, 3511, (7, 400, 2000, 3511))


@pytest.mark.slow
def test_any_depth_is_pytorchs(codec, exported):
    check_depths(codec, exported)


@pytest.mark.slow
def test_the_delay_is_declared(exported):
    side = exported.manifest.encoder
    assert side.delay == (side.chunk - 1 + side.context) * side.unit
    encoder = exported.encoder()
    samples = side.delay + side.unit
    assert encoder.push(torch.zeros(1, 1, samples - 1).numpy()).shape[-1] == 0
    assert encoder.push(torch.zeros(1, 1, 1).numpy()).shape[-1] == side.chunk
