"""`codec train` on shards and `codec generate`, as users start them."""

import json

import pytest
import soundfile
import torch

from toneme.codecs.formats import read_tokens

SMALL = [
    "language.width=16", "language.layers=1", "language.heads=2", "language.depth_width=16", "language.depth_layers=1",
    "language.told=label", "language.labels=folder", "language.codebooks=3", "batch=2", "steps=2", "seconds=0.3",
    "saving.log=1",
]  # fmt: skip


@pytest.fixture
def trained(codec, wav, tiny, tmp_path):
    """Return what trains a model of some kind on made tokens, and gives its folder."""

    def train(name: str):
        for i in range(4):
            wav(f"data/{'ab'[i % 2]}/{i}.wav", seconds=0.3 + 0.1 * i)
        shards, run = tmp_path / "shards", tmp_path / name
        assert codec("tokenize", tmp_path / "data", "-o", shards, "-c", tiny, "--workers", "0").code == 0
        ran = codec("train", f"recipes/{name}.yaml", f"data.train={shards}", *SMALL, "-o", run, "--device", "cpu")
        assert ran.code == 0, ran.err
        assert f"{run / 'model'}: {name} after 2 steps" in ran.out.decode()
        return run / "model"

    return train


def test_streamed_audio_is_that_of_the_tokens(codec, trained, tiny, other, tmp_path):
    model = trained("lm_digits")
    common = (model, "-c", tiny, "--label", "a", "--seed", "7", "--device", "cpu")
    assert codec("generate", *common, "--seconds", "0.6", "-o", tmp_path / "a.tok").code == 0
    ran = codec("generate", *common, "--seconds", "0.6", "-o", tmp_path / "a.wav", "--json")
    assert json.loads(ran.out) == {"output": str(tmp_path / "a.wav"), "codec": "tiny", "frames": 30, "seconds": 0.6}
    assert codec("decode", tmp_path / "a.tok", "-c", tiny, "-o", tmp_path / "b.wav").code == 0
    streamed, decoded = (torch.from_numpy(soundfile.read(tmp_path / f"{n}.wav")[0]) for n in "ab")
    assert len(streamed) == len(decoded) == 14400
    torch.testing.assert_close(streamed, decoded, atol=1e-4, rtol=0)
    longer = codec("generate", *common, "--seconds", "1", "--prompt", tmp_path / "a.tok", "-o", tmp_path / "c.tok")
    assert longer.code == 0
    prompt, whole = read_tokens(tmp_path / "a.tok").codes, read_tokens(tmp_path / "c.tok").codes
    assert torch.equal(whole[..., :30], prompt)
    assert whole.shape == (1, 3, 50)
    refused = codec("generate", model, "-c", other, "-o", tmp_path / "x.wav")
    assert "use the codec that the model was trained on" in refused.sentence
    unknown = codec("generate", model, "-c", tiny, "--label", "c", "-o", tmp_path / "x.wav")
    assert "knows 2 labels, and 'c' is none of them" in unknown.sentence
    assert codec("generate", model, "-c", tiny, "--text", "hello", "-o", tmp_path / "x.wav").code == 2


def test_a_masked_model_writes_after_a_prompt_of_audio(codec, trained, tiny, wav, tmp_path):
    model = trained("lm_masked")
    common = ("generate", model, "-c", tiny, "--prompt", wav("p.wav", seconds=0.4), "--device", "cpu")
    assert codec(*common, "--seconds", "0.6", "-o", tmp_path / "a.wav", "--guidance", "2", "--top-k", "5").code == 0
    assert soundfile.info(tmp_path / "a.wav").frames == 14400
    assert "say how long with --seconds" in codec(*common, "-o", tmp_path / "b.wav").sentence
