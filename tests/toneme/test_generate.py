"""`codec train` on shards and `codec generate`, as users start them."""

import json

import pytest
import soundfile
import torch

from toneme.codecs.formats import read_tokens
from toneme.eval.probes.fitting import Budget

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
    again = codec("generate", *common, "--seconds", "1", "--prompt", tmp_path / "a.tok", "-o", tmp_path / "c.tok")
    assert again.code == 0, again.err  # what was named is written to, whatever stands there
    itself = codec("generate", *common, "--seconds", "1", "--prompt", tmp_path / "a.tok", "-o", tmp_path / "a.tok")
    assert "a.tok is the input itself" in itself.sentence
    short = codec("generate", *common, "--seconds", "0.2", "--prompt", tmp_path / "a.tok", "-o", tmp_path / "d.tok")
    assert "the prompt is 0.60 s long, and --seconds 0.2 is the length of the whole" in short.sentence
    refused = codec("generate", model, "-c", other, "-o", tmp_path / "x.wav")
    assert "use the codec that the model was trained on" in refused.sentence
    unknown = codec("generate", model, "-c", tiny, "--label", "c", "-o", tmp_path / "x.wav")
    assert "knows 2 labels, and 'c' is none of them" in unknown.sentence
    assert not (tmp_path / "x.wav").exists()
    assert codec("generate", model, "-c", tiny, "--text", "hello", "-o", tmp_path / "x.wav").code == 2
    piped = codec("generate", *common, "--seconds", "0.6", "-o", "-")  # nothing but audio, whose header knows no length
    assert piped.code == 0
    assert piped.out[-28800:] == (tmp_path / "a.wav").read_bytes()[-28800:]
    for wrong in (["-o", "-", "--json"], ["-o", "-", "--count", "1"], ["-o", f"{tmp_path}/new/"]):
        refused = codec("generate", *common, "--seconds", "0.6", *wrong)
        assert (refused.code, refused.out) == (2, b""), refused.sentence
    assert not (tmp_path / "new").exists()


def test_a_masked_model_writes_after_a_prompt_of_audio(codec, trained, tiny, wav, tmp_path):
    model = trained("lm_masked")
    common = ("generate", model, "-c", tiny, "--prompt", wav("p.wav", seconds=0.4), "--device", "cpu")
    assert codec(*common, "--seconds", "0.6", "-o", tmp_path / "a.wav", "--guidance", "2", "--top-k", "5").code == 0
    assert soundfile.info(tmp_path / "a.wav").frames == 14400
    assert "say how long with --seconds" in codec(*common, "-o", tmp_path / "b.wav").sentence


def test_many_recordings_of_every_label_are_probed(codec, trained, tiny, wav, tmp_path, monkeypatch):
    monkeypatch.setattr("toneme.eval.probes.recognition.CLASSES", Budget(steps=2, batch=4, rate=1e-2, seeds=(0,)))
    model, made = trained("lm_digits"), tmp_path / "made"
    common = ("generate", model, "-c", tiny, "--seconds", "0.3", "--seed", "3", "--device", "cpu")
    ran = codec(*common, "--label", "all", "--count", "2", "-o", made, "--json")
    assert json.loads(ran.out)["frames"] == 4 * 15
    assert (made / "labels.csv").read_text().split() == [
        "path,label", "000000.wav,a", "000001.wav,a", "000002.wav,b", "000003.wav,b",
    ]  # fmt: skip
    alone = codec("generate", *common[1:-4], "--seed", "5", "--device", "cpu", "--label", "b", "-o", tmp_path / "b.wav")
    assert alone.code == 0, alone.err
    assert (tmp_path / "b.wav").read_bytes() == (made / "000002.wav").read_bytes()
    assert "is no empty folder" in codec(*common, "--count", "1", "-o", made).sentence
    write_task(tmp_path / "probes", wav)
    ran = codec("probe", made, "-d", tmp_path / "probes", "--task", "letters", "--json", "--device", "cpu")
    assert ran.code == 0, ran.err
    rows = json.loads(ran.out)
    assert [(row["heard"], row["share"]["clips"]) for row in rows] == [("recordings, held out", 2), ("made", 4)]
    told = codec("probe", made, "-d", tmp_path / "probes", "--task", "letters", "-c", tiny, "-n", "2", "--device", "cpu")
    assert "A probe that learned from recordings as tiny x2 carries them recognises" in told.out.decode()
    assert codec("probe", made, "-d", tmp_path / "probes", "-c", tiny, "-n", "20").code == 2
    assert "has no task 'digits'" in codec("probe", made, "-d", tmp_path / "probes").sentence


def write_task(folder, wav):
    """Write a task of two letters."""
    rows = ["path,label,split"]
    for i in range(6):
        wav(f"probes/{i}.wav", seconds=0.3 + 0.02 * i)
        rows.append(f"probes/{i}.wav,{'ab'[i % 2]},{'test' if i > 3 else 'train'}")
    (folder / "letters.csv").write_text("\n".join(rows))
