"""EnCodec beside PyPI's encodec and transformers' EncodecModel, in one process, on the same random weights."""

import os

import pytest
import torch
from torch import Tensor, nn

from toneme.codecs.encodec import OFFICIAL, EncodecCodec

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
BANDWIDTHS = {"encodec_24khz": (1.5, 3.0, 6.0, 12.0, 24.0), "encodec_48khz": (3.0, 6.0, 12.0, 24.0)}


def roughen(model: nn.Module) -> nn.Module:
    """Give a fresh model weights that keep signals alive through its depth, and codebooks that tell latents apart."""
    torch.manual_seed(7)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("weight_g", "original0")) or (name.endswith("conv.weight") and "norm" not in name):
                weight.mul_(1.7)
        for name, buffer in model.named_buffers():
            if name.endswith("embed"):
                buffer.normal_(std=0.3)
            elif name.endswith("inited"):
                buffer.fill_(1)
    return model.eval()


def official_model(name: str):
    try:
        from encodec import EncodecModel
    except (ImportError, OSError) as error:  # a torchaudio built for CUDA beside a torch that is not raises OSError
        pytest.skip(f"PyPI's encodec cannot be imported here: {error}")
    build = {"encodec_24khz": EncodecModel.encodec_model_24khz, "encodec_48khz": EncodecModel.encodec_model_48khz}[name]
    return roughen(build(pretrained=False))


def transformers_model(name: str):
    try:
        from transformers import EncodecConfig, EncodecModel
    except (ImportError, OSError) as error:
        pytest.skip(f"transformers' EncodecModel cannot be imported here: {error}")
    stereo = {
        "target_bandwidths": [3.0, 6.0, 12.0, 24.0], "sampling_rate": 48000, "audio_channels": 2, "normalize": True,
        "chunk_length_s": 1.0, "overlap": 0.01, "norm_type": "time_group_norm", "use_causal_conv": False,
    }  # fmt: skip
    return roughen(EncodecModel(EncodecConfig(**(stereo if name == "encodec_48khz" else {}))))


def audio(codec: EncodecCodec, samples: int) -> Tensor:
    return torch.randn(1, codec.spec.channels, samples, generator=torch.Generator().manual_seed(1)) * 0.1


def check_alike(codes: Tensor, expected: Tensor) -> None:
    """Fail unless 99.9 % of the first codebook's codes, and so of all, are equal: random latents hardly ever tie."""
    assert codes.shape == expected.shape
    assert (codes != expected).float().mean() <= 0.001
    assert len(expected.unique()) > 8  # it did not pass because all was the same


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_encodec_package_gives_the_same(name: str):
    peer = official_model(name)
    codec = OFFICIAL[name](peer.state_dict())
    waveform = audio(codec, codec.spec.sample_rate + 2000)
    for bandwidth in BANDWIDTHS[name]:
        peer.set_target_bandwidth(bandwidth)
        with torch.inference_mode():
            frames = peer.encode(waveform)
        tokens = codec.encode(waveform, codebooks=codec.spec.codebooks_for(bandwidth))
        codes = torch.cat([codes for codes, _ in frames], dim=-1)
        check_alike(tokens.codes, codes)
    with torch.inference_mode():
        expected = peer.decode(frames)
    theirs = {"scale": torch.cat([scale for _, scale in frames], dim=-1)} if tokens.side else {}
    ours = codec.decode(codec.tokens_from_codes(codes, side=theirs))
    torch.testing.assert_close(ours, expected[..., : ours.shape[-1]], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", OFFICIAL)
def test_transformers_gives_the_same(name: str):
    peer = transformers_model(name)
    codec = OFFICIAL[name](peer.state_dict())
    waveform = audio(codec, 47520 if codec.spec.side else 24000)
    for bandwidth in BANDWIDTHS[name]:
        with torch.inference_mode():
            # its chunks are of one length: at 48 kHz one second is one of them
            encoded = peer.encode(waveform, bandwidth=bandwidth)
        tokens = codec.encode(waveform, codebooks=codec.spec.codebooks_for(bandwidth))
        check_alike(tokens.codes, encoded.audio_codes[0])
    with torch.inference_mode():
        expected = peer.decode(encoded.audio_codes, encoded.audio_scales)[0]
    theirs = {"scale": encoded.audio_scales[0].view(1, 1)} if tokens.side else {}
    ours = codec.decode(codec.tokens_from_codes(encoded.audio_codes[0], side=theirs))
    torch.testing.assert_close(ours, expected[..., : ours.shape[-1]], atol=1e-4, rtol=0)
