"""WavTokenizer exported: mirrored ends on both sides, an LSTM and attention that see a chunk, an inverse Fourier transform."""

import pytest
import torch

from toneme.codecs.layers.seanet import SEANetConfig
from toneme.codecs.layers.vocos import FourierHead, VocosConfig
from toneme.codecs.wavtokenizer import WavTokenizerCodec, WavTokenizerConfig
from toneme.export.folder import export_codec
from toneme.export.runtime import StreamingCodec
from toneme.export.wavtokenizer import PlainHead

from .families import check_chunks, check_cuts, check_lengths, lively

SMALL = WavTokenizerConfig(
    sample_rate=2400, seanet=SEANetConfig(dimension=16, filters=4, ratios=(5, 4, 2), causal=False), codebook_size=32,
    vocos=VocosConfig(16, 32, 48, 2, 4, 160, 40), chunk=10.0, window=400,
)  # fmt: skip


@pytest.fixture(scope="module")
def codec() -> WavTokenizerCodec:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return lively(WavTokenizerCodec(SMALL, "small-wavtokenizer"))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def exported(codec, tmp_path_factory) -> StreamingCodec:
    folder = tmp_path_factory.mktemp("export") / "wavtokenizer"
    export_codec(codec, folder)
    return StreamingCodec(folder)


def test_the_head_is_the_codecs():
    head = FourierHead(12, 160, 40)
    features = torch.randn(2, 9, 12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(PlainHead(head)(features), head(features), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_any_length_is_pytorchs(codec, exported):
    check_lengths(codec, exported)


@pytest.mark.slow
def test_chunks_as_short_as_asked_for_are_pytorchs(codec, exported):
    check_chunks(codec, exported.folder, 0.5, 6000)


@pytest.mark.slow
def test_any_cut_gives_the_whole(codec, exported):
    check_cuts(codec, exported, 3511, (7, 400, 2000, 3511))
