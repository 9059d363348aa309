"""EnCodec: the official models' goldens at full size, and every promise of a codec at a small size with random weights."""

import numpy as np
import pytest
import torch
from torch import Tensor

from toneme.codecs.checkpoint import fold_weight_norm
from toneme.codecs.encodec import CONFIGS, OFFICIAL, EncodecCodec, EncodecConfig
from toneme.codecs.errors import AudioError, CheckpointError, ShapeError
from toneme.codecs.layers.seanet import SEANetConfig

from .official import check_codes, golden_case, golden_weights
from .promises import check_batch, check_comes_back, check_saved

slow = pytest.mark.slow
CASES = [
    ("encodec_24khz", "short"),
    ("encodec_24khz", "tiny"),
    ("encodec_24khz", "6kbps"),
    pytest.param("encodec_24khz", "24kbps", marks=slow),
    pytest.param("encodec_24khz", "batch2", marks=slow),
    ("encodec_48khz", "24kbps_short"),
    ("encodec_48khz", "twoseg_tail"),
    pytest.param("encodec_48khz", "6kbps", marks=slow),
]
SMALL = {
    "causal": EncodecConfig(seanet=SEANetConfig(filters=4, dimension=16, ratios=(4, 2)), codebooks=8, codebook_size=32),
    "segments": EncodecConfig(
        seanet=SEANetConfig(channels=2, filters=4, dimension=16, ratios=(4, 2), causal=False, norm="time_group_norm"),
        codebooks=4,
        codebook_size=32,
        segment=400,
        segment_stride=388,
    ),
}


@pytest.fixture(scope="module", params=SMALL)
def codec(request: pytest.FixtureRequest) -> EncodecCodec:
    return small(request.param)


def small(kind: str) -> EncodecCodec:
    torch.manual_seed(3)
    codec = EncodecCodec(SMALL[kind], kind).eval()
    codec.quantizer.codebooks.normal_(std=0.15)
    with torch.no_grad():  # default initialisation fades out over so many layers
        for name, weight in codec.named_parameters():
            if name.endswith("weight") and weight.ndim == 3:
                weight.mul_(2.0)
    return codec


@pytest.fixture(scope="module")
def official():
    loaded = {}

    def load(name: str) -> EncodecCodec:
        if name not in loaded:
            loaded[name] = OFFICIAL[name](golden_weights(name))
        return loaded[name]

    return load


def noise(codec: EncodecCodec, samples: int, batch: int = 1, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, codec.spec.channels, samples, generator=generator) * 0.1


def split(total: int, largest: int, seed: int) -> list[int]:
    generator, sizes = torch.Generator().manual_seed(seed), []
    while sum(sizes) < total:
        sizes.append(min(total - sum(sizes), int(torch.randint(0, largest, (), generator=generator))))
    return sizes


def joined(case: dict[str, np.ndarray], key: str) -> np.ndarray:
    """The segments of a case joined in time, or its only array."""
    segments = sorted(name for name in case if name.startswith(f"{key}_seg"))
    return np.concatenate([case[name] for name in segments], axis=-1) if segments else case[key]


# -- official weights -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "case"), CASES)
def test_codes_and_audio_equal_the_official_implementation(official, name: str, case: str):
    codec, case = official(name), golden_case(name, case)
    depth = codec.spec.codebooks_for(float(case["in_bandwidth"]))
    tokens = codec.encode(torch.from_numpy(case["in_audio"]), codebooks=depth)
    check_codes(tokens.codes, joined(case, "codes"), joined(case, "margin"))
    for scale in tokens.side.values():
        np.testing.assert_allclose(scale, joined(case, "scale"), rtol=1e-6)  # a mean's order of summation
    codes = torch.from_numpy(joined(case, "codes")).long()
    audio = codec.decode(codec.tokens_from_codes(codes, side=dict(tokens.side)))
    expected = case.get("output", case.get("output_tail"))
    np.testing.assert_allclose(audio[..., -expected.shape[-1] :], expected, atol=1e-4)  # float32 sums in another order


@pytest.mark.parametrize(("name", "case"), CASES[:2] + CASES[5:6])
def test_latents_equal_the_official_implementation(official, name: str, case: str):
    codec, case = official(name), golden_case(name, case)
    audio = torch.from_numpy(case["in_audio"])
    if "scale_seg0" in case:
        audio = audio / torch.from_numpy(case["scale_seg0"])[..., None]
    with torch.inference_mode():
        np.testing.assert_allclose(codec.encoder(audio), joined(case, "latents"), atol=2e-4)
    # with gradients the layers take torch's own convolutions
    np.testing.assert_allclose(codec.encoder(audio).detach(), joined(case, "latents"), atol=2e-4)


@pytest.mark.parametrize(
    ("name", "depths"),
    [("encodec_24khz", {1.5: 2, 3: 4, 6: 8, 12: 16, 24: 32}), ("encodec_48khz", {3: 2, 6: 4, 12: 8, 24: 16})],
)
def test_bandwidths_are_the_papers(name: str, depths: dict[float, int]):
    with torch.device("meta"):
        spec = EncodecCodec(CONFIGS[name], name).spec
    assert {kbps: spec.codebooks_for(kbps) for kbps in depths} == depths
    assert {spec.bitrate(depth): depth for depth in depths.values()} == depths
    assert spec.frame_rate == {"encodec_24khz": 75, "encodec_48khz": 150}[name]


def parametrized(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names that transformers gives, weight norm as a parametrization."""
    renamed = {}
    for name, tensor in weights.items():
        for old, new in (
            (".weight_g", ".parametrizations.weight.original0"), (".weight_v", ".parametrizations.weight.original1"),
            (".conv.conv.", ".conv."), (".convtr.convtr.", ".conv."), (".model.", ".layers."), (".vq.", "."),
            ("._codebook.", ".codebook."), (".conv.norm.", ".norm."), (".convtr.norm.", ".norm."),
        ):  # fmt: skip
            name = name.replace(old, new)
        renamed[name] = tensor
    return renamed


@pytest.mark.parametrize("name", OFFICIAL)
def test_every_spelling_of_the_weights_gives_the_same_codec(official, name: str):
    weights, expected = golden_weights(name), official(name).state_dict()
    for spelling in (parametrized(weights), fold_weight_norm(weights)):
        loaded = OFFICIAL[name](spelling).state_dict()
        assert all(torch.equal(loaded[key], expected[key]) for key in expected)


def test_all_that_does_not_fit_is_in_one_error():
    weights = dict(golden_weights("encodec_24khz"))
    del weights["encoder.model.0.conv.conv.weight_g"]
    weights["decoder.model.1.lstm.bias_hh_l0"] = torch.zeros(3)
    weights["decoder.model.99.bias"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as error:
        OFFICIAL["encodec_24khz"](weights)
    for part in (
        "1 missing: encoder.model.0.conv.conv.weight_g",
        "1 unexpected: decoder.model.99.bias",
        "[3] (expected [2048])",
    ):
        assert part in str(error.value)


# -- promises, at a small size ----------------------------------------------------------------------------------


def test_a_saved_codec_codes_alike(codec: EncodecCodec, tmp_path):
    check_saved(codec, noise(codec, 1000), tmp_path)


@pytest.mark.parametrize("samples", [0, 1, 2, 7, 8, 9, 55, 56, 57, 387, 388, 389, 395, 396, 397, 399, 400, 401, 1001])
def test_every_length_comes_back(codec: EncodecCodec, samples: int):
    tokens = check_comes_back(codec, noise(codec, samples))
    assert tokens.codes.shape[-1] == codec.n_frames(samples)[0] == int(tokens.lengths[0, 0])


def test_a_batch_codes_like_its_items(codec: EncodecCodec):
    check_batch(codec, noise(codec, 1001, batch=5), [1001, 389, 0, 57, 800])


def test_fewer_codebooks_are_a_prefix(codec: EncodecCodec):
    whole = codec.encode(noise(codec, 999)).codes
    for depth in range(1, codec.spec.codebooks + 1):
        assert torch.equal(codec.encode(noise(codec, 999), codebooks=depth).codes, whole[:, :depth])


def test_audio_that_is_none_is_refused(codec: EncodecCodec):
    for value in (float("nan"), float("inf")):
        audio = noise(codec, 500)
        audio[0, 0, 300] = value
        with pytest.raises(AudioError, match="NaN"):
            codec.encode(audio)
        with pytest.raises(AudioError, match="NaN"):
            codec.stream_encoder().push(audio)


def test_what_comes_later_changes_no_frame_that_was_given_out():
    codec = small("causal")
    first, second = noise(codec, 800), noise(codec, 800)
    second[..., 400:] = noise(codec, 400, seed=1)
    codes = [codec.encode(audio).codes for audio in (first, second)]
    assert torch.equal(codes[0][..., :50], codes[1][..., :50])
    assert not torch.equal(codes[0][..., 50:], codes[1][..., 50:])
    changed = codes[0].clone()
    changed[..., 50:] = (changed[..., 50:] + 1) % 32
    audio = [codec.decode(codec.tokens_from_codes(c)) for c in (codes[0], changed)]
    assert torch.equal(audio[0][..., :400], audio[1][..., :400])


@pytest.mark.parametrize("largest", [3, 50, 900])
@pytest.mark.parametrize("samples", [1, 40, 55, 56, 388, 396, 400, 405, 1203])
def test_streams_in_any_pieces_equal_the_whole(codec: EncodecCodec, samples: int, largest: int):
    audio, seed = noise(codec, samples, batch=2), samples * largest
    tokens = codec.encode(audio)
    encoder, decoder = codec.stream_encoder(batch=2), codec.stream_decoder(batch=2)
    pieces = [encoder.push_tokens(part) for part in audio.split(split(samples, largest, seed), dim=-1)]
    pieces.append(encoder.flush_tokens())
    assert torch.equal(torch.cat([piece.codes for piece in pieces], dim=-1), tokens.codes)
    for name in codec.spec.side:
        torch.testing.assert_close(torch.cat([piece.side[name] for piece in pieces], dim=-1), tokens.side[name])
    sound = torch.cat([*(decoder.push(piece, samples) for piece in pieces), decoder.flush()], dim=-1)
    torch.testing.assert_close(sound, codec.decode(tokens), atol=1e-5, rtol=0)


def test_a_stream_can_start_anew(codec: EncodecCodec):
    encoder, audio = codec.stream_encoder(), noise(codec, 900)
    runs = []
    for _ in range(2):
        runs.append(torch.cat([encoder.push(audio), encoder.flush()], dim=-1))
        encoder.reset()
    assert torch.equal(*runs)


def test_streams_give_out_what_is_certain():
    codec = small("causal")
    encoder, decoder = codec.stream_encoder(), codec.stream_decoder()
    sizes = [encoder.push(part).shape[-1] for part in noise(codec, 80).split(8, dim=-1)]
    assert sizes == [0] * 6 + [7, 1, 1, 1]
    heard = [decoder.push(part).shape[-1] for part in torch.zeros(1, 8, 10, dtype=torch.int64).split(1, dim=-1)]
    assert heard == [0] * 6 + [56, 8, 8, 8]


def test_a_last_segment_of_one_frame_takes_it_from_the_one_before():
    codec = small("segments")  # 50 frames of 8 in a segment, 388 samples from one to the next
    tokens = codec.encode(noise(codec, 390))
    assert tokens.codes.shape[-1] == 49 + 1
    assert tokens.side["scale"].shape == (1, 2)
    parts = [codec.decode(codec.tokens_from_codes(codes, side={"scale": tokens.side["scale"][:, i : i + 1]}))
             for i, codes in enumerate(tokens.codes.split([49, 1], dim=-1))]  # fmt: skip
    time = torch.linspace(0, 1, 394)[1:-1]
    weight = 0.5 - (time - 0.5).abs()
    both = parts[0][..., 388:] * weight[388:] + parts[1][..., :4] * weight[:4]
    expected = torch.cat([parts[0][..., :388], both / (weight[388:] + weight[:4]), parts[1][..., 4:]], dim=-1)
    torch.testing.assert_close(codec.decode(tokens), expected[..., :390], atol=1e-6, rtol=1e-5)


def test_codes_without_their_levels_are_refused():
    codec = small("segments")
    tokens = codec.tokens_from_codes(torch.zeros(1, 4, 50, dtype=torch.int64))
    with pytest.raises(ShapeError, match="scale"):
        codec.decode(tokens)


def test_codes_alone_stand_for_all_their_samples(codec: EncodecCodec):
    for frames in (1, 49, 50, 51, 120):
        side = {name: torch.ones(1, -(-frames // 50)) for name in codec.spec.side}
        tokens = codec.tokens_from_codes(torch.zeros(1, 2, frames, dtype=torch.int64), side=side)
        segments = (frames - 1) // 50 if codec.spec.side else 0
        assert int(tokens.n_samples[0]) == frames * 8 - segments * 12
        assert codec.decode(tokens).shape[-1] == frames * 8 - segments * 12


def test_a_configuration_that_cannot_be_is_refused():
    for wrong in ({"segment": 400, "segment_stride": 388}, {"seanet": SEANetConfig(causal=False)}):
        with pytest.raises(CheckpointError, match="segment"):
            EncodecConfig(**wrong)
