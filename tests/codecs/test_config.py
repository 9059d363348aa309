"""Configurations: what of them shapes a codec, and what a folder says."""

import dataclasses
import importlib
import json

import pytest

from toneme.codecs.config import config_from_dict, read_config, set_fields
from toneme.codecs.encodec import EncodecCodec, EncodecConfig
from toneme.codecs.errors import CheckpointError
from toneme.codecs.layers.audiomae import AudioMAEConfig
from toneme.codecs.layers.seanet import SEANetConfig
from toneme.codecs.registry import FAMILIES
from toneme.codecs.teachers import TeacherConfig
from toneme.codecs.xcodec2 import XCodec2Config

from .test_base import CONFIG, build


@pytest.fixture(scope="module")
def codec() -> EncodecCodec:
    return build()


def test_a_field_that_is_added_leaves_the_hash_as_it_was():
    @dataclasses.dataclass(frozen=True)
    class Wider(EncodecConfig):
        added: int = 3

    given = {entry.name: getattr(CONFIG, entry.name) for entry in dataclasses.fields(CONFIG)}
    assert set_fields(Wider(**given)) == set_fields(dataclasses.replace(CONFIG, licence="MIT")) == set_fields(CONFIG)
    assert set_fields(Wider(**given, added=4)) == set_fields(CONFIG) | {"added": 4}
    assert set_fields(CONFIG)["seanet"] == {"filters": 2, "dimension": 4, "ratios": (4, 2)}
    assert set_fields(EncodecConfig()) == set_fields(EncodecConfig(seanet=SEANetConfig())) == {}


def test_a_folder_that_is_no_codecs_is_refused(codec: EncodecCodec, tmp_path):
    with pytest.raises(CheckpointError, match=r"config\.json"):
        EncodecCodec.from_folder(tmp_path)
    codec.save(tmp_path)
    about = json.loads((tmp_path / "config.json").read_text())
    for broken in ("{", "[]", json.dumps({"family": "encodec"})):
        (tmp_path / "config.json").write_text(broken)
        with pytest.raises(CheckpointError, match="configuration"):
            read_config(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**about, "family": "other"}))
    with pytest.raises(CheckpointError, match="family other"):
        EncodecCodec.from_folder(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_configuration_is_read_in_any_unicode(codec: EncodecCodec, tmp_path, encoding):
    codec.save(tmp_path)
    about = {**read_config(tmp_path), "name": "m\u00fcller"}
    (tmp_path / "config.json").write_text(json.dumps(about, ensure_ascii=False), encoding=encoding)
    assert EncodecCodec.from_folder(tmp_path).name == "m\u00fcller"


@pytest.mark.parametrize("family", FAMILIES)
def test_configurations_of_every_family_survive_json(family: str):
    module_name, name = FAMILIES[family]
    module = importlib.import_module(f"toneme.codecs{module_name}")
    kind, presets = getattr(module, name), getattr(module, "CONFIGS", {}).values()
    for config in (kind.Config(), *presets):
        assert config_from_dict(kind.Config, json.loads(json.dumps(dataclasses.asdict(config)))) == config


def test_what_may_be_absent_is_there_where_it_is_given():
    assert config_from_dict(XCodec2Config, {"teacher": None}).teacher is None
    given = config_from_dict(XCodec2Config, {"teacher": {"kind": "wavlm", "settings": [["hidden_size", 8]]}})
    assert given.teacher == TeacherConfig("wavlm", settings=(("hidden_size", 8),))


def test_unknown_and_missing_settings_are_refused():
    with pytest.raises(CheckpointError, match="unknown settings"):
        config_from_dict(SEANetConfig, {"filter": 4})
    with pytest.raises(CheckpointError, match="for SEANetConfig"):
        config_from_dict(EncodecConfig, {"seanet": {"filter": 4}})
    assert config_from_dict(SEANetConfig, {"ratios": [4, 2]}).ratios == (4, 2)


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        (EncodecConfig, {"codebooks": "eight"}, "codebooks of EncodecConfig must be a whole number; got 'eight'"),
        (EncodecConfig, {"codebooks": 2.5}, "must be a whole number; got 2.5"),
        (EncodecConfig, {"codebooks": True}, "must be a whole number; got True"),
        (EncodecConfig, {"seanet": 5}, "seanet of EncodecConfig must be a table; got 5"),
        (EncodecConfig, {"seanet": {"ratios": 4}}, r"ratios of SEANetConfig must be tuple\[int, ...\]; got 4"),
        (EncodecConfig, {"seanet": {"ratios": [4, "2"]}}, r"got \(4, '2'\)"),
        (XCodec2Config, {"chunk": "short"}, "chunk of XCodec2Config must be a number; got 'short'"),
        (XCodec2Config, {"teacher": "hubert"}, "teacher of XCodec2Config must be a table; got 'hubert'"),
        (AudioMAEConfig, {"grid": [4, 2, 1]}, r"grid of AudioMAEConfig must be tuple\[int, int\]; got \(4, 2, 1\)"),
    ],
)
def test_values_of_another_type_are_refused(kind, values, words):
    with pytest.raises(CheckpointError, match=words):
        config_from_dict(kind, values)


def test_whole_numbers_are_numbers():
    assert config_from_dict(XCodec2Config, {"chunk": 3}).chunk == 3
