"""Teachers: features of transformers' own models, frames for every length, and one sentence where something is missing."""

import copy
import importlib
import json
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file

from toneme.codecs import teachers
from toneme.codecs.errors import CheckpointError, MissingDependencyError, ShapeError
from toneme.codecs.teachers import Teacher, TeacherConfig, load_teacher, mel_spectra, teacher_weights

from .small_teachers import SETTINGS, SPECTRAL

transformers = pytest.importorskip("transformers", reason="teachers need transformers: pip install toneme[train]")
KINDS = {"hubert": SETTINGS, "wavlm": SETTINGS, "wav2vec2-bert": SPECTRAL}


@pytest.fixture(scope="module", params=KINDS)
def teacher(request: pytest.FixtureRequest) -> Teacher:
    torch.manual_seed(1)
    return Teacher.from_config(TeacherConfig(request.param, None, tuple(KINDS[request.param].items())))


def noise(samples: int, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, samples, generator=torch.Generator().manual_seed(0)) * 0.3


def test_features_are_the_mean_of_the_hidden_states(teacher: Teacher):
    audio = noise(3200)
    padded = torch.nn.functional.pad(audio, (160, 160))
    with torch.no_grad():
        heard = mel_spectra(padded) if teacher.hears_spectra else padded
        states = teacher.model(heard, output_hidden_states=True).hidden_states
    features = teacher(audio)
    assert (features.shape, len(states)) == ((2, 10, teacher.dimension), 3)
    torch.testing.assert_close(features, sum(states) / 3)
    assert teacher.frame_rate == 50


@pytest.mark.parametrize("samples", [79, 80, 239, 240, 320, 399, 400, 560, 1919])
def test_frames_are_counted_for_every_length(teacher: Teacher, samples: int):
    if teacher.n_frames(samples):
        assert teacher(noise(samples)).shape[1] == teacher.n_frames(samples)
    else:
        with pytest.raises(ShapeError, match=f"needs {teacher.least} samples"):
            teacher(noise(samples))


def test_other_rates_are_resampled(teacher: Teacher):
    assert teacher(noise(4800), 24000).shape == (2, 10, teacher.dimension)
    with pytest.raises(ShapeError, match=r"\[batch, samples\]"):
        teacher(noise(4800)[:, None])


def test_a_teacher_stays_frozen(teacher: Teacher):
    teacher.train()
    audio = noise(3200).requires_grad_()
    assert not any(module.training for module in teacher.modules())
    assert not any(weight.requires_grad for weight in teacher.parameters())
    assert not teacher(audio).requires_grad
    assert torch.equal(teacher(audio), teacher(audio))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda teacher: pickle.loads(pickle.dumps(teacher))])
@pytest.mark.parametrize("layer", [None, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_a_teacher_in_use_can_be_copied_and_sent_to_another_process(kind: str, layer: int | None, copied):
    teacher = Teacher.from_config(TeacherConfig(kind, layer, tuple(KINDS[kind].items())))
    features = teacher(noise(3200))
    again = copied(teacher)
    assert torch.equal(again(noise(3200)), features)
    assert not any(module.training for module in again.modules())
    assert not any(weight.requires_grad for weight in again.parameters())
    next(again.parameters()).zero_()
    assert torch.equal(teacher(noise(3200)), features)


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_is_as_in_the_whole_model_and_what_follows_is_cut_off(tmp_path, kind: str):
    settings, model = teachers.KINDS[kind]
    whole = getattr(transformers, model)(getattr(transformers, settings)(**KINDS[kind])).eval()
    whole.save_pretrained(tmp_path)
    cut = load_teacher(tmp_path, layer=0)
    audio = noise(3200)
    padded = torch.nn.functional.pad(audio, (160, 160))
    with torch.no_grad():
        heard = mel_spectra(padded) if cut.hears_spectra else padded
        states = whole(heard, output_hidden_states=True).hidden_states
    torch.testing.assert_close(cut(audio), states[0])
    torch.testing.assert_close(load_teacher(tmp_path, layer=1)(audio), states[1])
    torch.testing.assert_close(load_teacher(tmp_path, layer=-1)(audio), states[2])
    assert len(cut.model.encoder.layers) == 1


@pytest.mark.parametrize("settings", [{}, {"feat_extract_norm": "layer", "do_stable_layer_norm": True}])
@pytest.mark.parametrize("frames", [1, 4, 5, 23])
def test_convolutions_in_blocks_equal_the_whole(settings: dict, frames: int, monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    model = transformers.HubertModel(transformers.HubertConfig(**SETTINGS, **settings)).eval()
    audio = noise(frames * 320 + 150) + 0.1
    monkeypatch.setattr(teachers, "BLOCK_FRAMES", 5)
    with torch.no_grad():
        expected = model.feature_extractor(audio)
        found = Teacher(model).model.feature_extractor(audio)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_spectra_are_those_of_transformers():
    audio = noise(16160, batch=1)
    extract = transformers.SeamlessM4TFeatureExtractor()
    expected = extract([audio[0].numpy()], sampling_rate=16000, return_tensors="pt")["input_features"]
    spectra = mel_spectra(audio)
    assert spectra.shape == (1, 49, 160)
    torch.testing.assert_close(spectra, expected[:, :49], atol=5e-3, rtol=0)  # logarithms of float32 powers


def test_spectra_of_audio_beyond_full_scale_are_numbers_in_half_precision():
    audio = (noise(16160) * 10).half()
    spectra = mel_spectra(audio)
    assert (audio.abs().max() > 2, spectra.dtype) == (True, torch.float16)
    torch.testing.assert_close(spectra.float(), mel_spectra(audio.float()), atol=5e-3, rtol=0)  # 11 bits of numbers about 3


@pytest.mark.parametrize("spelling", ["parametrizations.weight.original{}", "weight_{}"])
def test_weight_norm_of_the_positions_is_multiplied_out(spelling: str):
    made = transformers.HubertModel(transformers.HubertConfig(**SETTINGS))
    weights, stem = {f"there.{k}": v for k, v in made.state_dict().items()}, "there.encoder.pos_conv_embed.conv."
    for i, end in enumerate("gv"):
        tensor = weights.pop(f"{stem}parametrizations.weight.original{i}")
        weights[stem + spelling.format(end if spelling.startswith("weight") else i)] = tensor
    own = teacher_weights({**weights, "elsewhere": torch.zeros(1)}, "there.")
    torch.testing.assert_close(own["encoder.pos_conv_embed.conv.weight"], made.encoder.pos_conv_embed.conv.weight.detach())
    teacher = Teacher.from_config(TeacherConfig(settings=tuple(SETTINGS.items())))
    assert own.keys() == teacher.model.state_dict().keys()


def test_names_that_cannot_be_had_and_models_that_are_none(tmp_path, monkeypatch):
    with pytest.raises(CheckpointError, match=r"cannot be had .* pass the folder of a copy"):
        load_teacher(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "hubert"}))
    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", lambda name: transformers.BertConfig())
    with pytest.raises(CheckpointError, match="is a bert, and a teacher is one of hubert, wavlm"):
        load_teacher("some/bert")


@pytest.fixture
def saved(tmp_path):
    """A folder with a teacher, and its weights to be spoiled."""
    transformers.HubertModel(transformers.HubertConfig(**SETTINGS)).save_pretrained(tmp_path)
    return tmp_path, load_file(tmp_path / "model.safetensors")


def test_a_teacher_without_some_of_its_weights_is_refused(saved):
    folder, weights = saved
    kept = {name: value for name, value in weights.items() if "layers.1" not in name}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    count = len(weights) - len(kept)
    with pytest.raises(CheckpointError, match=rf"lacks {count} of its weights, encoder\.layers\.1\..* random .*whole copy"):
        load_teacher(folder)


def test_what_a_teacher_has_no_use_for_or_only_training_has_is_passed_over(saved, capfd):
    folder, weights = saved
    weights.pop("masked_spec_embed")
    save_file({**weights, "lm_head.weight": torch.zeros(4, 24)}, folder / "model.safetensors", {"format": "pt"})
    before = transformers.logging.get_verbosity()
    load_teacher(folder)
    assert "lm_head" not in "".join(capfd.readouterr())
    assert transformers.logging.get_verbosity() == before


@pytest.mark.parametrize("spoil", ["cut", "sizes"])
def test_weights_that_cannot_be_read_are_one_sentence(saved, spoil: str):
    folder, weights = saved
    if spoil == "cut":
        (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:1000])
    else:
        save_file({k: torch.cat([v, v]) for k, v in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"cannot be had \(.+\): .*pass the folder of a copy"):
        load_teacher(folder)


def test_short_names_are_the_hubs(monkeypatch):
    asked = []

    def from_pretrained(name):
        asked.append(name)
        raise OSError("no connection")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", from_pretrained)
    for name in ("hubert", "wavlm", "w2v-bert", "org/other"):
        with pytest.raises(CheckpointError, match="no connection"):
            load_teacher(name)
    assert asked == ["facebook/hubert-base-ls960", "microsoft/wavlm-base-plus", "facebook/w2v-bert-2.0", "org/other"]


def test_what_is_wrong_with_a_configuration_is_said():
    with pytest.raises(CheckpointError, match="one of hubert, wavlm, wav2vec2-bert; got 'whisper'"):
        TeacherConfig("whisper")
    with pytest.raises(CheckpointError, match=r"unknown settings \['hiden_size'\]"):
        Teacher.from_config(TeacherConfig(settings=(("hiden_size", 3),)))


def test_a_missing_package_is_one_sentence(monkeypatch):
    def missing(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingDependencyError, match=r"needs the package transformers .*: pip install \"\.\[train\]\""):
        load_teacher("hubert")
    assert teachers.NAMES["hubert"]


def test_what_transformers_cannot_load_is_one_sentence(monkeypatch):
    class Broken:
        HubertConfig = transformers.HubertConfig

        def __getattr__(self, name: str) -> object:
            raise OSError("libc10_cuda.so: cannot open shared object file")

    monkeypatch.setattr(teachers, "load_transformers", Broken)
    with pytest.raises(
        MissingDependencyError, match=r"cannot load its HubertModel \(libc10_cuda.so.*uninstall what does not load"
    ):
        Teacher.from_config(TeacherConfig("hubert", None, tuple(SETTINGS.items())))
