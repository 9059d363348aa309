"""HiFi-GAN's generator: transformers' with the same random weights, and how far it sees."""

import pytest
import torch

from toneme.codecs.layers.audioldm_names import vocoder_names
from toneme.codecs.layers.hifigan import HiFiGAN, HiFiGANConfig

SMALL = HiFiGANConfig(bins=6, width=32, rates=(5, 2), kernels=(16, 4), block_kernels=(3, 7), dilations=(1, 3))


@pytest.fixture(scope="module")
def vocoder() -> HiFiGAN:
    torch.manual_seed(0)
    model = HiFiGAN(SMALL).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.15)
    return model


def test_the_waveform_equals_that_of_transformers(vocoder: HiFiGAN):
    transformers = pytest.importorskip("transformers", reason="the peers extra is not installed")
    config = transformers.SpeechT5HifiGanConfig(
        model_in_dim=6, upsample_initial_channel=32, upsample_rates=[5, 2], upsample_kernel_sizes=[16, 4],
        resblock_kernel_sizes=[3, 7], resblock_dilation_sizes=[[1, 3], [1, 3]], normalize_before=False,
    )  # fmt: skip
    peer = transformers.SpeechT5HifiGan(config).eval()
    names = {theirs.replace("ups.", "upsampler."): ours for ours, theirs in vocoder_names(vocoder).items()}
    weights = vocoder.state_dict()
    peer.load_state_dict({theirs: weights[ours] for theirs, ours in names.items()}, strict=False)
    assert {name for name, _ in peer.named_parameters()} == set(names)
    mel = torch.randn(2, 6, 9)
    with torch.no_grad():
        expected, waveform = peer(mel.transpose(1, 2)), vocoder(mel)
    assert waveform.shape == (2, 1, 9 * SMALL.hop + 2)  # the first stage gives one more, which the second doubles
    assert waveform.std() > 0.1
    torch.testing.assert_close(waveform[:, 0], expected, atol=1e-5, rtol=0)


def test_frames_out_of_reach_change_nothing(vocoder: HiFiGAN):
    mel = torch.randn(1, 6, 40)
    with torch.no_grad():
        whole, start = vocoder(mel), vocoder(mel[..., : 10 + SMALL.reach])
    torch.testing.assert_close(start[..., : 10 * SMALL.hop], whole[..., : 10 * SMALL.hop], atol=1e-6, rtol=0)


def test_the_published_one_is_of_the_published_size():
    with torch.device("meta"):
        model = HiFiGAN(HiFiGANConfig())
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(55.3, rel=1e-3)
    assert model.config.hop == 160
