"""SNAC exported: streams at several rates, each an input or an output of its own."""

import pytest
import torch

from toneme.codecs.layers.dac_blocks import DacBlocksConfig
from toneme.codecs.snac import SnacCodec, SnacConfig
from toneme.export.folder import export_codec
from toneme.export.runtime import StreamingCodec
from toneme.export.snac import spread
from toneme.quantizers import multiscale

from .families import check_chunks, check_cuts, check_depths, check_files, check_lengths

SMALL = SnacConfig(1000, DacBlocksConfig(8, (2, 4), 32, 32, depthwise=True, noise=True), (4, 2, 1), 32, 4)


@pytest.fixture(scope="module")
def codec() -> SnacCodec:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SnacCodec(SMALL, "small-snac").eval()


@pytest.fixture(scope="module")
def exported(codec, tmp_path_factory) -> StreamingCodec:
    folder = tmp_path_factory.mktemp("export") / "snac"
    export_codec(codec, folder)
    return StreamingCodec(folder)


def test_frames_are_repeated_as_the_quantizer_repeats_them():
    latents = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(spread(latents, 4), multiscale.spread(latents, 4))


@pytest.mark.slow
def test_any_length_is_pytorchs(codec, exported):
    check_lengths(codec, exported, (1, 32, 33, 333, 3999, 12000))


@pytest.mark.slow
def test_chunks_as_short_as_asked_for_are_pytorchs(codec, exported):
    check_chunks(codec, exported.folder, 0.2, 3511)


@pytest.mark.slow
def test_any_cut_gives_the_whole(codec, exported):
    check_cuts(codec, exported, 3511, (7, 400, 2000, 3511))


@pytest.mark.slow
@pytest.mark.parametrize("codebooks", [1, 2, 3])
def test_files_are_those_of_the_torch_interface(exported, codebooks):
    check_files(exported.folder, codebooks, (1, 333, 3999))


@pytest.mark.slow
def test_any_depth_is_pytorchs(codec, exported):
    check_depths(codec, exported)
