"""SEANet with every switch: shapes, steps, official names, spans; the CPU's path beside torch's own convolutions."""

import pytest
import torch

from toneme.codecs.errors import CheckpointError
from toneme.codecs.layers import seanet, seanet_chain
from toneme.codecs.layers.seanet import SEANetConfig, SEANetDecoder, SEANetEncoder
from toneme.codecs.layers.seanet_names import decoder_names, encoder_names
from toneme.kernels import native, workers

SMALL = {"filters": 4, "dimension": 8, "ratios": (4, 3, 2)}
VARIANTS = {
    "encodec": SEANetConfig(**SMALL),
    "encodec stereo": SEANetConfig(**SMALL, channels=2, causal=False, norm="time_group_norm"),
    "mimi": SEANetConfig(**SMALL, last_kernel=3, true_skip=True, lstm=0, pad_mode="constant"),
    "speechtokenizer": SEANetConfig(**SMALL, causal=False, bidirectional=True),
    "speechtokenizer snake": SEANetConfig(**SMALL, causal=False, bidirectional=True, activation="snake"),
    "wavtokenizer": SEANetConfig(**SMALL, causal=False),
    "deep": SEANetConfig(**SMALL, residual_layers=3, lstm=1),
}


@pytest.fixture(params=VARIANTS)
def config(request: pytest.FixtureRequest) -> SEANetConfig:
    return VARIANTS[request.param]


def build(config: SEANetConfig) -> tuple[SEANetEncoder, SEANetDecoder]:
    torch.manual_seed(0)
    return SEANetEncoder(config).eval(), SEANetDecoder(config).eval()


def noise(channels: int, time: int) -> torch.Tensor:
    return torch.randn(2, channels, time, generator=torch.Generator().manual_seed(time))


@pytest.mark.parametrize("samples", [1, 23, 24, 25, 24 * 9 + 5])
def test_lengths_and_both_paths(config: SEANetConfig, samples: int, way: str):
    encoder, decoder = build(config)
    latents = encoder(noise(config.channels, samples))
    assert latents.shape == (2, 8, -(-samples // 24))
    audio = decoder(latents)
    assert audio.shape == (2, config.channels, latents.shape[-1] * 24)
    with torch.inference_mode():
        torch.testing.assert_close(encoder(noise(config.channels, samples)), latents, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(decoder(latents), audio, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["encodec", "mimi", "deep"])
@pytest.mark.parametrize("block", [2, 64])
@pytest.mark.parametrize("threads", [1, 2])
def test_steps_equal_the_whole(name: str, block: int, threads: int, way: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(seanet, "BLOCK_FRAMES", block)
    monkeypatch.setattr(seanet, "CHAIN_FRAMES", block)
    monkeypatch.setattr(workers, "MIN_WORK", 1 if threads > 1 else 10**12)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    encoder, decoder = build(VARIANTS[name])
    x = noise(1, 24 * 30 + 7)
    with torch.inference_mode():
        whole = encoder(x)
        state, pieces = encoder.initial_state(2), []
        sizes = [24 * 14, 24, 24 * 5, 24 * 10 + 7]
        for number, piece in enumerate(x.split(sizes, dim=-1)):
            y, state = encoder.step(piece, state, final=number == 3)
            pieces.append(y)
        torch.testing.assert_close(torch.cat(pieces, dim=-1), whole, atol=1e-5, rtol=1e-4)
        state, pieces = decoder.initial_state(2), []
        for piece in whole.split([14, 1, 6, 10], dim=-1):
            y, state = decoder.step(piece, state)
            pieces.append(y)
        torch.testing.assert_close(torch.cat(pieces, dim=-1), decoder(whole), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["encodec", "mimi", "deep"])
def test_a_chain_in_c_takes_what_it_is_for(name: str, monkeypatch: pytest.MonkeyPatch):
    """Without it the same comes out, so that no other test would tell."""
    if native.products() is None:
        pytest.skip("needs the C kernels, and a processor whose vectors are theirs")
    nets, calls = build(VARIANTS[name]), []
    run = seanet_chain.run
    monkeypatch.setattr(seanet_chain, "run", lambda chain, *given: calls.append(chain) or run(chain, *given))
    with torch.inference_mode():
        nets[1](nets[0](noise(1, 24 * 20)))
    assert [chain.result.width for chain in calls] == [16, 1]


@pytest.mark.parametrize(
    "change", [{"pad_mode": "replicate"}, {"activation": "snake"}, {"residual_layers": 0}, {"residual_kernel": 9}]
)
def test_others_go_layer_by_layer(change: dict):
    config = SEANetConfig(**{**SMALL, "lstm": 0, **change})
    encoder, decoder = build(config)
    assert encoder._make_chain() is decoder._make_chain() is None
    with torch.inference_mode():
        assert decoder(encoder(noise(1, 24 * 9))).shape == (2, 1, 24 * 9)


def test_new_weights_make_a_new_chain():
    encoder, _ = build(VARIANTS["encodec"])
    x = noise(1, 24 * 9)
    with torch.inference_mode():
        encoder(x)
    with torch.no_grad():
        encoder.first.weight.mul_(2)
    wanted = encoder(x)
    with torch.inference_mode():
        torch.testing.assert_close(encoder(x), wanted, atol=1e-5, rtol=1e-4)


def test_start_frames_are_enough_and_needed():
    encoder, decoder = build(VARIANTS["encodec"])
    assert (encoder.start_frames, decoder.start_frames) == (7, 7)
    for net, channels, unit in ((encoder, 1, 24), (decoder, 8, 1)):
        net.step(noise(channels, 7 * unit), net.initial_state(2))
        with pytest.raises(ValueError, match="longer than"):
            net.step(noise(channels, 6 * unit), net.initial_state(2))
    assert build(VARIANTS["mimi"])[0].start_frames == 1


def test_official_names_cover_every_tensor(config: SEANetConfig):
    for net, names in zip(build(config), (encoder_names(config), decoder_names(config)), strict=True):
        assert set(names) == set(net.state_dict())
        assert len(set(names.values())) == len(names)


def test_official_names_are_the_published_ones():
    names = encoder_names(SEANetConfig()) | {f"decoder {k}": v for k, v in decoder_names(SEANetConfig()).items()}
    for ours, theirs in {
        "first.weight": "model.0.conv.conv.weight",
        "stages.0.blocks.0.conv2.bias": "model.1.block.3.conv.conv.bias",
        "stages.3.down.weight": "model.12.conv.conv.weight",
        "lstm.weight_hh_l1": "model.13.lstm.weight_hh_l1",
        "last.weight": "model.15.conv.conv.weight",
        "decoder stages.0.up.weight": "model.3.convtr.convtr.weight",
        "decoder stages.3.blocks.0.shortcut.weight": "model.13.shortcut.conv.conv.weight",
        "decoder last.bias": "model.15.conv.conv.bias",
    }.items():
        assert names[ours] == theirs
    assert "model.1.block.0.alpha" in encoder_names(VARIANTS["speechtokenizer snake"]).values()


@pytest.mark.parametrize("causal", [True, False])
def test_spans_are_where_gradients_reach(causal: bool):
    encoder, decoder = build(SEANetConfig(**SMALL, causal=causal, lstm=0, pad_mode="constant"))
    for net, channels, unit in ((encoder, 1, 24), (decoder, 8, 1)):
        x = noise(channels, 40 * unit)[:1].requires_grad_()
        at = 20 if net is encoder else 20 * 24
        net(x)[..., at : at + 2].sum().backward()
        reached = x.grad[0].abs().sum(0).nonzero()
        assert net.span(at, at + 1) == (int(reached.min()), int(reached.max()))
    assert build(VARIANTS["wavtokenizer"])[0].span(0, 0) is None


def test_switches_that_exclude_each_other_are_refused():
    for wrong in ({"bidirectional": True}, {"norm": "time_group_norm"}, {"norm": "layer"}, {"activation": "relu"}):
        with pytest.raises(CheckpointError, match="SEANet"):
            SEANetConfig(**wrong)
