"""Variants: the same ones again, each like its recording but for speed, level and a shift of less than a frame."""

import torch

from toneme.codecs.registry import load
from toneme.lm.shards import read_shards
from toneme.lm.tokenizing import tokenize
from toneme.lm.variants import SPEED, names_of, original, vary

from .made import contents, make_codec, make_recordings

RATE, HOP = 24000, 480


def tone(hertz=1000.0):
    return torch.sin(6.2832 * hertz / RATE * torch.arange(RATE))[None]


def test_a_recording_is_its_own_first_variant():
    assert [original(name) for name in names_of("a?1.wav", 3)] == ["a?1.wav"] * 3
    assert len(set(names_of("a.wav", 3))) == 3
    assert vary(tone(), RATE, HOP, "a.wav") is not None
    assert torch.equal(vary(tone(), RATE, HOP, "a.wav"), tone())


def test_variants_differ_in_speed_level_and_place_within_limits():
    seen = []
    for name in names_of("a.wav", 12)[1:]:
        varied = vary(tone(), RATE, HOP, name)[0]
        assert torch.equal(varied, vary(tone(), RATE, HOP, name)[0])
        late = int((varied.abs() > 1e-3).nonzero()[0])
        body = varied[HOP : HOP + RATE // 2]
        hertz = float(torch.fft.rfft(body * torch.hann_window(len(body))).abs().argmax()) * RATE / len(body)
        assert late < HOP + 2
        assert 1000 / SPEED - 2 <= hertz <= 1000 * SPEED + 2
        assert abs(len(varied) - late - RATE * 1000 / hertz) < 0.01 * RATE
        assert 10 ** (-5 / 20) - 0.01 < float(body.abs().max()) < 10 ** (5 / 20) + 0.01
        seen.append((late, round(hertz), round(float(body.abs().max()), 2)))
    assert all(len(set(column)) > 6 for column in zip(*seen, strict=True))


def test_shards_hold_each_recording_and_its_variants(tmp_path):
    codec = make_codec(tmp_path / "tiny")
    files = make_recordings(tmp_path / "data", 3, longest=0.4)
    files[2].write_bytes(b"no audio")
    done = tokenize(files, tmp_path / "out", str(codec), 2, "npz", workers=0, files_per_shard=4, variants=3)
    assert (done["items"], done["files"], len(done["failures"])) == (6, 9, 1)
    assert tokenize(files, tmp_path / "out", str(codec), 2, "npz", workers=0, files_per_shard=4, variants=3)["files"] == 0
    tokenize(files, tmp_path / "again", str(codec), 2, "npz", workers=0, files_per_shard=4, variants=3)
    assert contents(tmp_path / "again") == contents(tmp_path / "out")
    shards = read_shards(tmp_path / "out", load(codec))
    paths = [tokens.metadata["path"] for tokens in shards]
    assert sorted(paths) == ["left/000.wav"] * 3 + ["right/001.wav"] * 3
    assert len({tokens.metadata["sha256"] for tokens in shards}) == 2
    plain = tmp_path / "plain"
    tokenize(files, plain, str(codec), 2, "npz", workers=0)
    theirs = {tokens.metadata["path"]: tokens.codes for tokens in read_shards(plain)}
    same = [torch.equal(tokens.codes, theirs[tokens.metadata["path"]]) for tokens in shards]
    assert same.count(True) == 2
