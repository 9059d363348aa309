"""Hub names: what is asked of huggingface_hub, and one clear sentence for every way in which it fails."""

import io

import huggingface_hub
import pytest
from huggingface_hub import errors as hub_errors

from toneme.codecs import hub
from toneme.codecs.errors import CheckpointError, CodecNotFoundError


def make(kind, text="detail\nmore"):
    """Build an error without the HTTP response that its constructor wants."""
    error = kind.__new__(kind)
    error.args = (text,)
    return error


@pytest.fixture
def answer(monkeypatch):
    """Let `snapshot_download` return or raise what the test says, and record its arguments."""

    def install(result):
        calls = []

        def snapshot_download(*args, **kwargs):
            calls.append((args, kwargs))
            if isinstance(result, BaseException):
                raise result
            return str(result)

        monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
        return calls

    return install


def saved(folder, files=("config.json", "model.safetensors")):
    for file in files:
        (folder / file).write_text("{}")
    return folder


def test_what_states_the_licence_is_fetched_before_the_weights(answer, tmp_path):
    calls = answer(saved(tmp_path))
    assert hub.fetch("hf://org/name") == tmp_path
    fetched = [["config.json", "README.md"], ["config.json", "model.safetensors"]]
    assert calls == [(("org/name",), {"revision": None, "allow_patterns": files}) for files in fetched]


def test_weights_are_not_fetched_under_a_licence_that_is_refused(answer, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TONEME_ACCEPT_LICENCE", raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())  # no terminal
    (saved(tmp_path) / "config.json").write_text('{"config": {"licence": "CC-BY-NC-4.0"}}')
    calls = answer(tmp_path)
    with pytest.raises(CheckpointError, match=r"org/name have the licence CC-BY-NC-4\.0.*set TONEME_ACCEPT_LICENCE="):
        hub.fetch("hf://org/name")
    assert [call[1]["allow_patterns"] for call in calls] == [["config.json", "README.md"]]
    monkeypatch.setenv("TONEME_ACCEPT_LICENCE", "CC-BY-NC-4.0")
    assert hub.fetch("hf://org/name") == tmp_path


def test_revision_is_passed_on(answer, tmp_path):
    calls = answer(saved(tmp_path))
    hub.fetch("hf://org/name@v1.2")
    assert calls[0][0] == ("org/name",)
    assert calls[0][1]["revision"] == "v1.2"


@pytest.mark.parametrize("name", ["hf://", "hf://name", "hf://org/", "hf:///name", "hf://org/name/more", "hf://org/name@"])
def test_malformed_names_never_reach_the_network(answer, name, tmp_path):
    calls = answer(tmp_path)
    with pytest.raises(CodecNotFoundError, match="write hf://org/name"):
        hub.fetch(name)
    assert not calls


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (hub_errors.RepositoryNotFoundError, "no repository org/name"),
        (hub_errors.GatedRepoError, "gated: accept its terms"),
        (hub_errors.RevisionNotFoundError, "no revision 'main2'"),
        (hub_errors.HFValidationError, "not a name that the hub allows"),
        (hub_errors.LocalEntryNotFoundError, "cannot be reached: connect once"),
        (type("ConnectTimeout", (Exception,), {}), "cannot be reached: connect once"),
        (OSError, "cannot be fetched"),
    ],
)
def test_each_failure_is_one_sentence(answer, monkeypatch, kind, words):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    answer(make(kind))
    with pytest.raises(CodecNotFoundError, match=words) as caught:
        hub.fetch("hf://org/name@main2")
    assert "\n" not in str(caught.value)
    assert "org/name" in str(caught.value)


def test_offline_names_the_switch_and_the_cache(answer, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", "/there/hub")
    answer(make(hub_errors.LocalEntryNotFoundError))
    with pytest.raises(CodecNotFoundError, match=r"not in the cache \(/there/hub\) and HF_HUB_OFFLINE is set: unset it"):
        hub.fetch("hf://org/name")


def test_offline_without_a_cache_through_the_real_client(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    real = huggingface_hub.snapshot_download
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *a, **k: real(*a, **k, cache_dir=tmp_path))
    with pytest.raises(CodecNotFoundError, match="HF_HUB_OFFLINE is set"):
        hub.fetch("hf://org/name")


def test_repository_that_is_no_codec(answer, tmp_path):
    answer(saved(tmp_path, ["config.json"]))
    with pytest.raises(CodecNotFoundError, match=r"org/name holds no model\.safetensors: it is not a saved codec"):
        hub.fetch("hf://org/name")


def test_interrupt_is_not_swallowed(answer):
    answer(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        hub.fetch("hf://org/name")
