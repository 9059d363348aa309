"""Recordings to shards: codes as one by one, nothing lost or doubled whatever happens, on processes and a cluster."""

import errno
import hashlib
import multiprocessing
import os
import random
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import soundfile
import torch

from toneme.codecs.audio import read_audio
from toneme.codecs.errors import CheckpointError, ShapeError, TonemeError
from toneme.codecs.registry import load
from toneme.codecs.toneme24k import TonemeCodec
from toneme.lm import shard_work
from toneme.lm.shard_plan import locked
from toneme.lm.shards import read_shards
from toneme.lm.tokenizing import GPU_BATCH_SECONDS, tokenize

from .made import contents, make_codec, make_recordings


@pytest.fixture(scope="module")
def codec(tmp_path_factory):
    return make_codec(tmp_path_factory.mktemp("codec") / "tiny")


@pytest.fixture
def recordings(tmp_path):
    return make_recordings(tmp_path / "data", 14)


def test_codes_in_batches_equal_those_one_by_one(tmp_path, codec, recordings):
    done = tokenize(recordings, tmp_path / "out", str(codec), workers=0, files_per_shard=5, batch_seconds=2.0)
    shards, model = read_shards(tmp_path / "out", load(codec)), load(codec)
    assert (done["items"], done["shards"], done["failures"], done["files"]) == (14, 3, [], 14)
    assert [tokens.metadata["path"] for tokens in shards] == [p.relative_to(tmp_path / "data").as_posix() for p in recordings]
    for tokens, path in zip(shards, recordings, strict=True):
        alone = model.encode(read_audio(path, 24000, 1)[0])
        assert torch.equal(tokens.codes, alone.codes)
        assert torch.equal(tokens.n_samples, alone.n_samples)
        assert tokens.metadata["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert torch.equal(model.decode(tokens), model.decode(alone))


def test_long_recordings_are_coded_as_they_are_read(tmp_path, codec, recordings, monkeypatch):
    monkeypatch.setattr(shard_work, "LONG_SECONDS", 0.3)
    tokenize(recordings, tmp_path / "long", str(codec), workers=0, batch_seconds=0.3, codebooks=2)
    monkeypatch.undo()
    tokenize(recordings, tmp_path / "short", str(codec), workers=0, codebooks=2)
    for ours, theirs in zip(read_shards(tmp_path / "long"), read_shards(tmp_path / "short"), strict=True):
        assert torch.equal(ours.codes, theirs.codes)
        assert ours.codes.shape[1] == 2
        assert ours.metadata == theirs.metadata
        assert torch.equal(ours.n_samples, theirs.n_samples)


def test_names_that_are_no_text_go_into_shards_however_long_the_recordings_are(tmp_path, codec, recordings, monkeypatch):
    monkeypatch.setattr(shard_work, "LONG_SECONDS", 0.3)
    for number, path in enumerate(recordings[:4]):
        path.rename(os.fsdecode(os.fsencode(tmp_path) + b"/data/%d\xff.wav" % number))
    done = tokenize(sorted((tmp_path / "data").glob("*.wav")), tmp_path / "out", str(codec), workers=0, batch_seconds=0.3)
    assert (done["items"], done["failures"]) == (4, [])
    assert [tokens.metadata["path"] for tokens in read_shards(tmp_path / "out")] == [rf"{n}\udcff.wav" for n in range(4)]


def test_short_recordings_are_opened_once_as_long_as_there_is_room(tmp_path, codec, recordings, monkeypatch):
    opened, plain = [], shard_work.AudioReader
    monkeypatch.setattr(shard_work, "AudioReader", lambda path, *form: opened.append(path) or plain(path, *form))
    found = {}
    for early, seconds in ((0, 5.0), (24000, 5.0), (shard_work.EARLY, 0.0), (shard_work.EARLY, 5.0)):
        monkeypatch.setattr(shard_work, "SHORT_SECONDS", seconds)
        monkeypatch.setattr("toneme.lm.tokenizing.EARLY", early)
        opened.clear()
        out = tmp_path / f"{early} {seconds}"
        tokenize(recordings, out, str(codec), workers=0, files_per_shard=14, format="npz")
        found[early, seconds] = len(opened), contents(out)
    assert len({repr(held) for _, held in found.values()}) == 1
    assert [count for count, _ in found.values()] == [28, found[24000, 5.0][0], 28, 14]
    assert 14 < found[24000, 5.0][0] < 28


def test_files_that_cannot_be_read_are_listed_and_left_out(tmp_path, codec, recordings):
    bad = {"cut.wav": recordings[0].read_bytes()[:-100], "text.wav": b"no audio", "empty.flac": b""}
    for name, data in bad.items():
        (tmp_path / "data" / name).write_bytes(data)
    soundfile.write(tmp_path / "data" / "none.wav", [], 16000)
    files = [*recordings, *(tmp_path / "data" / name for name in (*bad, "none.wav", "gone.wav"))]
    done = tokenize(files, tmp_path / "out", str(codec), workers=0, format="npz")
    assert done["items"] == 14
    told = {failure["path"]: failure["error"] for failure in done["failures"]}
    assert set(told) == {*bad, "none.wav", "gone.wav"}
    assert "ends before its header says" in told["cut.wav"]
    assert "holds no samples" in told["none.wav"]
    assert "cannot be read (No such file" in told["gone.wav"]
    assert [failure[0] for failure in read_shards(tmp_path / "out").failures] == [f.name for f in files[14:]]
    salvaged = tokenize(files[14:15], tmp_path / "salvaged", str(codec), workers=0, salvage=True)
    assert salvaged["items"] == 1


def test_a_recording_that_the_codec_refuses_does_not_take_its_batch_with_it(tmp_path, codec, recordings, monkeypatch):
    encode = TonemeCodec.encode

    def refuse(self, waveform, **options):
        if waveform.abs().max() > 0.8:
            raise ShapeError("this is too loud")
        return encode(self, waveform, **options)

    tokenize(recordings[:3] + recordings[4:], tmp_path / "others", str(codec), workers=0)
    soundfile.write(recordings[3], [0.9] * 8000, 16000)
    monkeypatch.setattr(TonemeCodec, "encode", refuse)
    done = tokenize(recordings, tmp_path / "out", str(codec), workers=0, files_per_shard=14)
    assert done["failures"] == [{"path": "right/003.wav", "error": "this is too loud"}]
    for ours, theirs in zip(read_shards(tmp_path / "out"), read_shards(tmp_path / "others"), strict=True):
        assert ours.metadata == theirs.metadata
        assert torch.equal(ours.codes, theirs.codes)


def test_a_second_run_does_nothing_and_new_files_are_added(tmp_path, codec, recordings):
    tokenize(recordings[:9], tmp_path / "out", str(codec), workers=0, files_per_shard=4, format="npz")
    first = contents(tmp_path / "out")
    assert tokenize(recordings[:9], tmp_path / "out", str(codec), workers=0, format="npz")["files"] == 0
    assert contents(tmp_path / "out") == first
    done = tokenize(recordings, tmp_path / "out", str(codec), workers=0, files_per_shard=4, format="npz")
    assert (done["files"], done["items"]) == (5, 14)
    paths = [tokens.metadata["path"] for tokens in read_shards(tmp_path / "out")]
    assert sorted(paths) == sorted(p.relative_to(tmp_path / "data").as_posix() for p in recordings)


@pytest.mark.parametrize("files_per_shard", [None, 3])  # 3: a recording and its variant lie in different shards
def test_a_file_that_could_not_be_read_is_taken_once_it_was_repaired(tmp_path, codec, recordings, files_per_shard):
    good, out = recordings[4].read_bytes(), tmp_path / "out"
    recordings[4].write_bytes(b"no audio"), recordings[5].write_bytes(b"no audio")
    assert len(tokenize(recordings, out, str(codec), workers=0, variants=2, files_per_shard=files_per_shard)["failures"]) == 2
    spare = tmp_path / "spare.wav"
    spare.write_bytes(good), os.utime(spare, (0, 0)), spare.replace(recordings[4])  # with its time of long ago
    again = tokenize(recordings, out, str(codec), workers=0, variants=2, files_per_shard=files_per_shard)
    assert (again["files"], again["items"]) == (2, 2 * 13)
    assert [Path(failure["path"]).name for failure in again["failures"]] == [recordings[5].name]
    assert [Path(path).name for path, _ in read_shards(out).failures] == [recordings[5].name]
    assert tokenize(recordings, out, str(codec), workers=0, variants=2, files_per_shard=files_per_shard)["files"] == 0
    tokenize(recordings, tmp_path / "fresh", str(codec), workers=0, variants=2, files_per_shard=files_per_shard)
    both = [
        {(tokens.metadata["path"], tokens.codes.numpy().tobytes()) for tokens in read_shards(tmp_path / name)}
        for name in ("out", "fresh")
    ]
    assert both[0] == both[1]
    assert len(both[0]) == 2 * 13


def test_what_does_not_fit_the_folder_is_refused(tmp_path, codec, recordings):
    out = tmp_path / "out"
    tokenize(recordings[:2], out, str(codec), workers=0)
    other = make_codec(tmp_path / "other", seed=1)
    for options in ({"codec": str(other)}, {"codec": str(codec), "codebooks": 2}, {"codec": str(codec), "format": "npz"}):
        with pytest.raises(CheckpointError, match=r"holds shards of 8 codebooks of tiny .* name another folder"):
            tokenize(recordings, out, workers=0, **options)
    for call, message in [
        (lambda: tokenize([], out, str(codec)), "there is no recording"),
        (lambda: tokenize(recordings, out, str(codec), format="csv"), "written as parquet, webdataset, npz; got 'csv'"),
    ]:
        with pytest.raises(TonemeError, match=message):
            call()
    with locked(out), pytest.raises(TonemeError, match="another run writes to"):
        tokenize(recordings, out, str(codec), workers=0)


def test_without_locks_a_run_works_and_leaves_what_another_has_half_written(tmp_path, monkeypatch):
    def refuse(file, how):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))  # as Lustre does unless it is mounted with flock

    monkeypatch.setattr("fcntl.flock", refuse)
    with locked(tmp_path / "out"):
        (tmp_path / "out" / ".shard-000000.npz.x.part.npz").touch()
    assert [path.name for path in (tmp_path / "out").glob(".*.part*")] == [".shard-000000.npz.x.part.npz"]


def test_paths_stay_below_the_folder_of_the_first_run(tmp_path, codec, recordings):
    """Else what is new in a folder would change all names, and what has the same name elsewhere would be left out."""
    out, data = tmp_path / "out", tmp_path / "data"
    left = [path for path in recordings if path.parent.name == "left"]
    options = {"workers": 0, "format": "npz", "codebooks": 1}
    tokenize(left, out, str(codec), root=data, **options)
    assert tokenize(recordings, out, str(codec), root=data, **options)["files"] == 7
    assert tokenize(left, out, str(codec), **options)["files"] == 0
    assert len(read_shards(out)) == 14
    (tmp_path / "other" / "left").mkdir(parents=True)
    (tmp_path / "other" / "left" / "000.wav").write_bytes(left[3].read_bytes())
    with pytest.raises(TonemeError, match=r"000.wav is not below .*data, as the recordings of .*out: name another folder"):
        tokenize([tmp_path / "other" / "left" / "000.wav"], out, str(codec), **options)
    data.rename(tmp_path / "moved")
    moved = [tmp_path / "moved" / path.relative_to(data) for path in recordings]
    assert tokenize(moved, out, str(codec), **options)["files"] == 0


KILLED = """
import os, random, shutil, signal, time
import torch
torch.set_num_threads(1)
from contextlib import contextmanager
from pathlib import Path
from toneme.lm.tokenizing import GPU_BATCH_SECONDS, tokenize

def attempt():
    files = sorted(Path({data!r}).rglob("*.wav"))
    tokenize(files, {out!r}, {codec!r}, workers=0, files_per_shard=3, batch_seconds=1.0, format="{format}")

chance, kills, longest = random.Random({seed}), 0, {seconds}
while kills < 12:  # a fork before any arithmetic begins saves importing torch anew
    child = os.fork()
    if not child:
        attempt()
        os._exit(0)
    time.sleep(chance.uniform(0, longest))
    os.kill(child, signal.SIGKILL)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
        if kills:
            break
        shutil.rmtree({out!r})  # it was faster than the run that was timed: again, and sooner
        longest /= 2
        continue
    kills += 1
    print(len(list(Path({out!r}).glob("shard-*.json"))), flush=True)
attempt()
"""


@pytest.mark.parametrize("kind", ["parquet", "npz"])
def test_killed_at_any_moment_nothing_is_lost_or_doubled(tmp_path, codec, kind):
    recordings = make_recordings(tmp_path / "data", 24, longest=0.4)
    began = time.perf_counter()
    options = {"workers": 0, "files_per_shard": 3, "batch_seconds": 1.0, "format": kind}
    tokenize(sorted(recordings), tmp_path / "whole", str(codec), **options)
    values = {
        "data": str(tmp_path / "data"), "out": str(tmp_path / "out"), "codec": str(codec),
        "format": kind, "seed": random.randrange(1 << 30), "seconds": 0.6 * (time.perf_counter() - began),
    }  # fmt: skip
    ran = subprocess.run([sys.executable, "-P", "-c", KILLED.format(**values)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout, "no run was killed"
    assert contents(tmp_path / "out") == contents(tmp_path / "whole"), (values["seed"], ran.stdout)


# -- processes and a cluster ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced(tmp_path, codec, recordings):
    options = {"files_per_shard": 2, "format": "npz"}
    tokenize(recordings, tmp_path / "whole", str(codec), workers=0, **options)
    killed, before = [], multiprocessing.active_children()

    class Watch:
        def __init__(self, files):
            assert files == 14

        def __enter__(self):
            return self.advance

        def __exit__(self, *_):
            return None

        def advance(self, files):
            if not killed:
                killed.append(next(child for child in multiprocessing.active_children() if child not in before))
                killed[0].kill()

    done = tokenize(recordings, tmp_path / "out", str(codec), workers=2, watch=Watch, **options)
    assert killed
    assert done["items"] == 14
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_a_cluster_with_a_worker_killed_gives_the_same(tmp_path, codec):
    ray = pytest.importorskip("ray", reason="the cluster needs Ray: pip install toneme[cluster]")
    recordings = make_recordings(tmp_path / "data", 24)
    options = {"files_per_shard": 2, "format": "npz"}
    tokenize(recordings, tmp_path / "whole", str(codec), workers=0, **options)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 << 20)
    killed = []

    class Watch:
        def __init__(self, files):
            self.files = files

        def __enter__(self):
            return self.advance

        def __exit__(self, *_):
            return None

        def advance(self, files):
            if not killed and (actors := ray_workers()):
                killed.append(actors[0])
                os.kill(actors[0], 9)

    try:
        done = tokenize(recordings, tmp_path / "out", str(codec), workers=2, cluster=True, watch=Watch, **options)
    finally:
        ray.shutdown()
    assert killed
    assert done["items"] == 24
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def ray_workers() -> list[int]:
    """Return the processes of Ray's actors that this process's own Ray started."""
    parents, names = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                names[int(entry.name)] = (entry / "cmdline").read_bytes()
            except OSError:  # it ended meanwhile
                continue

    def ours(process: int) -> bool:
        while process > 1:
            process = parents.get(process, 0)
            if process == os.getpid():
                return True
        return False

    return [process for process, name in names.items() if b"ray::" in name and b"MapWorker" in name and ours(process)]


def test_several_devices_share_the_shards(tmp_path, codec, recordings):
    options = {"files_per_shard": 2, "format": "npz"}
    tokenize(recordings, tmp_path / "whole", str(codec), workers=0, **options)
    before = set(multiprocessing.active_children())  # data workers of tests before this one may not have ended yet
    seen = set()

    @contextmanager
    def watch(files):
        yield lambda done: seen.update(multiprocessing.active_children())

    done = tokenize(recordings, tmp_path / "out", str(codec), workers=1, device="cpu,cpu", watch=watch, **options)
    assert len(seen - before) == 2
    assert done["items"] == 14
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    ("device", "workers", "expected"),
    [
        ("auto", None, ["cuda:0", "cuda:1", "cuda:2"]),
        ("cuda:0,cuda:2", None, ["cuda:0", "cuda:2"]),
        ("cuda:1, cuda:2", 2, ["cuda:1", "cuda:2"] * 2),
    ],
)
def test_every_gpu_gets_processes_of_its_own(tmp_path, codec, recordings, monkeypatch, device, workers, expected):
    """No GPU is needed: what would be started is written down."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    started = []
    monkeypatch.setattr("toneme.lm.shard_workers.make_with_processes", lambda *args: started.append(args))
    tokenize(recordings, tmp_path / "out", str(codec), device=device, workers=workers)
    ((_, _, devices, threads, settings, _),) = started
    assert devices == expected
    assert threads >= 1
    assert settings.batch_seconds == GPU_BATCH_SECONDS
