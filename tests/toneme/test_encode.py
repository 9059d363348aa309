"""`codec encode`: files, folders, stdin; what is written equals what the library makes."""

import json

import pytest
import torch

import toneme

from .conftest import leftovers, tone


def whole(folder, path, codebooks=None):
    waveform, rate = toneme.read_audio(path)
    return toneme.load(folder).encode(waveform, rate, codebooks=codebooks)


@pytest.mark.parametrize(("rate", "channels"), [(24000, 1), (44100, 2), (8000, 1)])
def test_file_equals_the_library(codec, wav, tiny, tmp_path, rate, channels):
    path = wav("a.wav", 12.34, rate, channels)  # longer than a block
    ran = codec("encode", path, "-c", tiny)
    assert (ran.code, ran.err) == (0, "")
    made, expected = toneme.read_tokens(tmp_path / "a.tok"), whole(tiny, path)
    assert torch.equal(made.codes, expected.codes)
    assert made.n_samples.tolist() == expected.n_samples.tolist()
    assert (made.codec, made.weights_hash) == (expected.codec, expected.weights_hash)


def test_json_has_the_figures(codec, wav, tiny, tmp_path):
    ran = codec("encode", wav(seconds=2.0), "-c", tiny, "-o", tmp_path / "x.tok", "--json")
    done = json.loads(ran.out)
    assert done["seconds"] == 2.0
    assert done["bytes"] == (tmp_path / "x.tok").stat().st_size
    assert done["kbps"] == pytest.approx(done["bytes"] * 8 / 2000, abs=1e-4)
    assert (done["codebooks"], done["nominal_kbps"], done["codec"]) == (8, 4.0, "tiny")
    assert done["output"] == str(tmp_path / "x.tok")


def test_a_beam_is_the_librarys(codec, wav, tiny, tmp_path):
    path = wav("a.wav", 2.5)
    assert codec("encode", path, "-c", tiny, "--beam", 4).code == 0
    model = toneme.load(tiny)
    model.set_encode_options(beam=4)
    made, expected = toneme.read_tokens(tmp_path / "a.tok"), model.encode(*toneme.read_audio(path))
    assert torch.equal(made.codes, expected.codes)
    assert dict(made.metadata) == dict(expected.metadata) == {"beam": "4"}
    assert not torch.equal(made.codes, whole(tiny, path).codes)


@pytest.mark.parametrize(("options", "depth"), [(["-n", 3], 3), (["--bitrate", 2], 4), (["-b", 2.4], 4), ([], 8)])
def test_depth(codec, wav, tiny, tmp_path, options, depth):
    path = wav()
    assert codec("encode", path, "-c", tiny, *options).code == 0
    made = toneme.read_tokens(tmp_path / "a.tok")
    assert made.depth == depth
    assert torch.equal(made.codes, whole(tiny, path).codes[:, :depth])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-n", 3, "-b", 2], "either --codebooks or --bitrate"),
        (["-b", -1], "positive number of kbps"),
        (["-b", "nan"], "positive number of kbps"),
        (["-n", 0], "codebooks"),
    ],
)
def test_depths_that_make_no_sense_are_usage_errors(codec, wav, tiny, options, words):
    ran = codec("encode", wav(), "-c", tiny, *options)
    assert ran.code == 2
    assert words in ran.sentence


@pytest.mark.parametrize(
    ("options", "words"), [(["-n", 9], "from 1 to 8; got 9"), (["-b", 0.1], "this codec's lowest rate is 0.5")]
)
def test_depths_that_the_codec_lacks(codec, wav, tiny, options, words):
    ran = codec("encode", wav(), "-c", tiny, *options)
    assert ran.code == 1
    assert words in ran.sentence


@pytest.mark.parametrize("name", ["b.npz", "b.NPY", "b.ecdc", "b.wav"])
def test_a_tok_file_is_not_named_as_another_format(codec, wav, tiny, tmp_path, name):
    ran = codec("encode", wav(), "-c", tiny, "-o", tmp_path / name)
    assert ran.code == 2
    assert "encode writes .tok files" in ran.sentence
    assert not (tmp_path / name).exists()


def test_stdin_to_stdout(codec, wav, tiny, tmp_path):
    path = wav(seconds=1.5)
    ran = codec("encode", "-", "-c", tiny, stdin=path.read_bytes())
    assert (ran.code, ran.err) == (0, "")
    (tmp_path / "b.tok").write_bytes(ran.out)
    assert torch.equal(toneme.read_tokens(tmp_path / "b.tok").codes, whole(tiny, path).codes)


def test_json_and_tokens_do_not_share_stdout(codec, wav, tiny):
    ran = codec("encode", wav(), "-c", tiny, "-o", "-", "--json")
    assert ran.code == 2
    assert ran.out == b""


def test_folder_is_mirrored(codec, wav, tiny, tmp_path):
    for name in ("in/a.wav", "in/deep/er/b.flac", "in/.hidden/c.wav", "in/._d.wav"):
        wav(name, 0.2)
    (tmp_path / "in" / "notes.txt").write_text("no audio")
    ran = codec("encode", tmp_path / "in", "-c", tiny, "-o", tmp_path / "out")
    assert ran.code == 0
    made = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert made == ["a.tok", "deep/er/b.tok"]


def test_folder_without_output_writes_beside(codec, wav, tiny, tmp_path):
    wav("in/deep/b.wav", 0.2)
    assert codec("encode", tmp_path / "in", "-c", tiny).code == 0
    assert (tmp_path / "in/deep/b.tok").is_file()


def test_several_inputs_and_names_that_meet(codec, wav, tiny, tmp_path):
    inputs = [wav("x/a.wav", 0.2), wav("y/b.wav", 0.2), wav("z/c.wav", 0.2).parent, wav("z/c.flac", 0.2)]
    assert codec("encode", *inputs, "-c", tiny, "-o", tmp_path / "out").code == 0
    made = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.tok")}
    assert made == {"a.tok", "b.tok", "z/c.wav.tok", "z/c.flac.tok", "c.tok"}


def test_two_inputs_for_one_name_are_refused(codec, wav, tiny, tmp_path):
    ran = codec("encode", wav("x/a.wav", 0.2), wav("y/a.wav", 0.2), "-c", tiny, "-o", tmp_path / "out")
    assert ran.code == 2
    assert "would both become" in ran.sentence
    assert not (tmp_path / "out").exists()


def test_bad_file_in_a_folder_is_listed_and_the_rest_done(codec, wav, tiny, tmp_path):
    wav("in/a.wav", 0.2)
    wav("in/z.wav", 0.2)
    (tmp_path / "in" / "m.wav").write_text("not audio at all")
    ran = codec("encode", tmp_path / "in", "-c", tiny, "-o", tmp_path / "out")
    assert ran.code == 1
    assert "m.wav" in ran.err.split("\n")[0]
    assert "1 of 3 files failed" in ran.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.tok", "z.tok"]


def test_batch_json_lists_files_and_failures(codec, wav, tiny, tmp_path):
    wav("in/a.wav", 0.2)
    (tmp_path / "in" / "m.wav").write_bytes(b"")
    ran = codec("encode", tmp_path / "in", "-c", tiny, "--json")
    assert ran.code == 1
    answer = json.loads(ran.out)
    assert [file["output"] for file in answer["files"]] == [str(tmp_path / "in/a.tok")]
    assert [failure["input"] for failure in answer["failures"]] == [str(tmp_path / "in/m.wav")]


def test_made_up_names_never_replace_a_file(codec, wav, tiny, tmp_path):
    path = wav()
    (tmp_path / "a.tok").write_text("precious")
    ran = codec("encode", path, "-c", tiny)
    assert ran.code == 1
    assert "exists: name a file with -o, or replace it with --force" in ran.sentence
    assert (tmp_path / "a.tok").read_text() == "precious"
    assert codec("encode", path, "-c", tiny, "--force").code == 0
    assert toneme.read_tokens(tmp_path / "a.tok").codec == "tiny"


def test_given_names_are_written_to(codec, wav, tiny, tmp_path):
    (tmp_path / "x.tok").write_text("old")
    assert codec("encode", wav(), "-c", tiny, "-o", tmp_path / "x.tok").code == 0
    assert toneme.read_tokens(tmp_path / "x.tok").codec == "tiny"


def test_the_input_is_never_overwritten(codec, wav, tiny):
    path = wav()
    before = path.read_bytes()
    ran = codec("encode", path, "-c", tiny, "-o", path, "--force")
    assert ran.code == 1
    assert "is the input itself" in ran.sentence
    assert path.read_bytes() == before


def test_output_folder_is_made(codec, wav, tiny, tmp_path):
    assert codec("encode", wav(), "-c", tiny, "-o", tmp_path / "new" / "er" / "x.tok").code == 0
    assert (tmp_path / "new" / "er" / "x.tok").is_file()
    assert not leftovers(tmp_path)


def test_clipped_input_is_noted(codec, tiny, tmp_path):
    import soundfile

    soundfile.write(tmp_path / "loud.wav", (tone() * 5).clip(-1, 1), 24000)
    ran = codec("encode", tmp_path / "loud.wav", "-c", tiny)
    assert ran.code == 0
    assert "was probably clipped" in ran.err


def test_output_is_the_same_when_memory_is_cut_into_other_blocks(codec, wav, tiny, tmp_path, monkeypatch):
    path = wav(seconds=3.3, rate=44100)
    assert codec("encode", path, "-c", tiny, "-o", tmp_path / "x.tok").code == 0
    monkeypatch.setattr("toneme.cli.coding.BLOCK_SECONDS", 0.31)
    assert codec("encode", path, "-c", tiny, "-o", tmp_path / "y.tok").code == 0
    assert torch.equal(toneme.read_tokens(tmp_path / "x.tok").codes, toneme.read_tokens(tmp_path / "y.tok").codes)


def test_a_name_that_ends_with_a_slash_is_a_folder(codec, wav, tiny, tmp_path):
    ran = codec("encode", wav("a.wav", 1.0), "-c", tiny, "-o", f"{tmp_path}/new/deep/")
    assert ran.code == 0, ran.err
    assert (tmp_path / "new" / "deep" / "a.tok").is_file()
    ran = codec("encode", "-", "-o", f"{tmp_path}/other/")
    assert ran.code == 2
    assert "is a folder" in ran.err
    assert not (tmp_path / "other").exists()
