"""`.ecdc`: equal to files of EnCodec's own program, in both directions, and safe against damaged ones."""

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from toneme.codecs.ecdc import MODELS, read_ecdc, segment_frames, to_ecdc
from toneme.codecs.errors import ShapeError, TokenFileError
from toneme.codecs.formats import read_tokens
from toneme.codecs.tokens import Tokens

from .tokensets import assert_same, make_tokens

GOLDENS = Path(__file__).parents[1] / "goldens" / "ecdc"


def made_ecdc(name: str, n_samples: int, depth: int = 4) -> Tokens:
    """Return tokens as EnCodec makes them, of random codes."""
    model, rng = MODELS[name], np.random.default_rng(n_samples)
    frames = list(segment_frames(model, n_samples))
    codes = torch.from_numpy(rng.integers(0, 1024, (1, depth, sum(frames))))
    scale = {"scale": torch.from_numpy(rng.random((1, len(frames)), dtype=np.float32))} if model.segment else {}
    return Tokens(
        (codes,),
        torch.tensor([[sum(frames)]]),
        torch.tensor([n_samples]),
        name,
        "",
        model.sample_rate,
        model.channels,
        (float(model.frame_rate),),
        ((1024,) * depth,),
        scale,
        150 if model.segment else 0,
    )


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_file_of_the_official_program(name):
    data = (GOLDENS / f"{name}.ecdc").read_bytes()
    expected = np.load(GOLDENS / f"{name}.npz")
    tokens = read_tokens(io.BytesIO(data))
    assert tokens.codec == name
    assert int(tokens.n_samples) == int(expected["n_samples"])
    np.testing.assert_array_equal(tokens.codes[0].numpy(), expected["codes"])
    if "scale" in expected:
        np.testing.assert_array_equal(tokens.side["scale"][0].numpy(), expected["scale"])
    assert to_ecdc(tokens) == data


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("n_samples", [0, 1, 319, 320, 47519, 47520, 47521, 48000, 95120, 200000])
def test_any_length_comes_back(name, n_samples, tmp_path):
    tokens = made_ecdc(name, n_samples)
    tokens.save(tmp_path / "made.ecdc")
    assert_same(read_tokens(tmp_path / "made.ecdc"), tokens)
    tokens.save(tmp_path / "made.tok")
    assert_same(read_tokens(tmp_path / "made.tok"), tokens)


def test_a_short_segment_before_the_last():
    assert list(segment_frames(MODELS["encodec_48khz"], 95120)) == [150, 149, 1]


def _encodec_package():
    """EnCodec's own reader, where the package can be imported (torchaudio beside a CPU build of torch often cannot)."""
    try:
        from encodec import EncodecModel, compress  # pyright: ignore[reportMissingImports]
    except (ImportError, OSError) as error:
        pytest.skip(f"the encodec package cannot be imported here: {error}")
    return EncodecModel, compress


@pytest.mark.parametrize("name", sorted(MODELS))
def test_both_directions_against_the_encodec_package(name):
    models, compress = _encodec_package()
    torch.manual_seed(0)
    model = getattr(models, name.replace("encodec_", "encodec_model_"))(pretrained=False).eval()
    model.name = name  # the package names only models whose weights it fetched
    model.set_target_bandwidth(6.0)
    waveform = torch.randn(1, model.channels, model.sample_rate * 5 // 4) * 0.1
    with torch.no_grad():
        frames = model.encode(waveform)
    official = compress(model, waveform[0], use_lm=False)
    tokens = read_ecdc(official)
    assert torch.equal(tokens.codes, torch.cat([codes for codes, _ in frames], dim=2))
    if "scale" in tokens.side:
        assert torch.equal(tokens.side["scale"], torch.cat([scale for _, scale in frames], dim=1))
    assert to_ecdc(tokens) == official


def header(name: object = "encodec_24khz", al: object = 320, nc: object = 2, lm: object = False, version: int = 0) -> bytes:
    about = json.dumps({"m": name, "al": al, "nc": nc, "lm": lm}).encode()
    return b"ECDC" + bytes([version]) + len(about).to_bytes(4, "big") + about


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"ECD", "first bytes are cut"),
        (header(version=1), "version 1, at byte 4"),
        (header(lm=True), "language model .* decode it by the encodec package"),
        (header(name="encodec_99khz"), "of model 'encodec_99khz'"),
        (header(nc=33), "1 to 32 codebooks, got 320 and 33"),
        (header(nc=True), "got 320 and True"),
        (header(al=-1), "got -1"),
        (header(al=10**30), "claims 1000000000000000000000000000000 samples"),
        (header(al=48000), "it was cut"),
        (header() + b"\0\0\0\0", "bytes follow the end of this .ecdc file, at byte"),
        (b"ECDC\0\xff\xff\xff\xff{}", "claims 4294967295 bytes"),
        (b"ECDC\0\0\0\0\2{}", "is not valid"),
    ],
)
def test_bad_files(data, message):
    with pytest.raises(TokenFileError, match=message):
        read_ecdc(data)


def test_a_cut_at_every_byte():
    for name in MODELS:
        data = to_ecdc(made_ecdc(name, math.ceil(1.1 * MODELS[name].sample_rate)))
        for n in range(len(data)):
            with pytest.raises(TokenFileError, match=r"byte \d+"):
                read_ecdc(data[:n])


def test_tokens_that_the_format_cannot_hold():
    with pytest.raises(ShapeError, match=r"save as \.tok"):
        to_ecdc(make_tokens(10))
    tokens = made_ecdc("encodec_24khz", 3200)
    with pytest.raises(ShapeError, match=r"take 10 frames .* got 9 frames"):
        to_ecdc(Tokens(**{**vars(tokens), "streams": (tokens.codes[..., :9],), "lengths": torch.tensor([[9]])}))
    tokens = made_ecdc("encodec_48khz", 48000)
    with pytest.raises(ShapeError, match=r"2 scales; got .* 0 scales"):
        to_ecdc(Tokens(**{**vars(tokens), "side": {}}))
