"""`.dac`: what descript-audio-codec writes is read, and nothing that a pickle says is ever run."""

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from toneme.codecs.dacfile import read_dac
from toneme.codecs.errors import TokenFileError
from toneme.codecs.formats import read_tokens

GOLDENS = Path(__file__).parents[1] / "goldens" / "dacfile"


def dac_dict(items: int = 1, codebooks: int = 9, frames: int = 62, **about) -> dict:
    """Return the dictionary that `DACFile.save` of descript-audio-codec 1.0.0 pickles."""
    codes = np.random.default_rng(0).integers(0, 1024, (items, codebooks, frames)).astype(np.uint16)
    metadata = {
        "input_db": np.full(items, -26.5, np.float32),
        "original_length": frames * 512 - 9,
        "sample_rate": 44100,
        "chunk_length": frames,
        "channels": items,
        "padding": True,
        "dac_version": "1.0.0",
    }
    return {"codes": codes, "metadata": metadata | about}


def save(content: object) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array(content, dtype=object) if not isinstance(content, dict) else content, allow_pickle=True)
    return file.getvalue()


def dac_bytes(**options) -> bytes:
    return save(dac_dict(**options))


def with_pickle(data: bytes) -> bytes:
    """Return a .npy file of objects whose pickle is these bytes."""
    plain = save({})
    return plain[: 10 + int.from_bytes(plain[8:10], "little")] + data


@pytest.mark.parametrize("case", ["dac_16khz_stereo", "dac_44khz_whole"])
def test_files_of_the_official_program(case):
    golden = np.load(GOLDENS / f"{case}.npz")
    about = {key: golden[key].item() for key in ("original_length", "sample_rate", "chunk_length", "channels", "padding")}
    about |= {"input_db": golden["input_db"], "dac_version": str(golden["dac_version"])}
    tokens = read_tokens(io.BytesIO(save({"codes": golden["codes"], "metadata": about})))
    np.testing.assert_array_equal(tokens.codes.numpy(), golden["codes"])
    assert tokens.codec == case.rpartition("_")[0]
    assert tokens.sample_rate == about["sample_rate"]
    assert tokens.n_samples.tolist() == [about["original_length"]] * len(golden["codes"])
    assert tokens.metadata["dac_padding"] == str(about["padding"]).lower()
    assert [float(level) for level in tokens.metadata["dac_input_db"].split()] == golden["input_db"].tolist()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("old_names", [False, True])
def test_every_pickle_protocol_and_name_of_numpy(protocol, old_names):
    content = np.empty((), object)
    content[()] = dac_dict(frames=3)
    data = pickle.dumps(content, protocol=protocol)
    if old_names and protocol < 4:
        data = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    if protocol == 5:  # numpy pickles arrays through buffers there, which numpy.save never asks for
        with pytest.raises(TokenFileError, match="hostile or foreign"):
            read_dac(with_pickle(data))
        return
    assert read_dac(with_pickle(data)).codes.shape == (1, 9, 3)


class Evil:
    def __init__(self, *call) -> None:
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("wrap", [lambda evil: evil, lambda evil: {"codes": evil}, lambda evil: {"codes": np.array([evil])}])
def test_code_in_a_pickle_is_not_run(wrap, tmp_path):
    witness = tmp_path / "ran"
    for evil in (Evil(os.system, (f"touch {witness}",)), Evil(eval, (f"open({str(witness)!r}, 'w')",))):
        with pytest.raises(
            TokenFileError, match=r"names '(posix|nt|builtins)\.(system|eval)' at byte \d+.* nothing of it was run"
        ):
            read_dac(save(wrap(evil)))
    assert not witness.exists()


def test_attributes_and_objects_of_numpy_are_not_reached():
    for text in (
        b"cnumpy\nload\n.",
        b"cnumpy.core.multiarray\nfromfile\n.",
        b"\x8c\x05numpy\x8c\x09core.load\x93.",
        b"iposix\nsystem\n.",
    ):
        with pytest.raises(TokenFileError, match="hostile or foreign"):
            read_dac(with_pickle(b"\x80\x04" + text))


def test_values_that_double_and_lengths_that_lie_end_at_once():
    double = b"".join(b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) + b"0" for i in range(40))
    bombs = [
        b"\x80\x02]q\x000" + double + b"h\x28.",  # a pair of pairs, forty times
        b"\x80\x04\x8e" + (1 << 40).to_bytes(8, "little") + b"x.",  # a terabyte of bytes
        b"\x80\x04B" + b"\xff" * 4 + b"x.",
        b"\x80\x02Nr\xff\xff\xff\x7f.",  # memo entry two billion
        b"\x80\x02" + b"(" * 5000 + b"t" * 5000 + b".",
    ]
    for bomb in bombs:
        with pytest.raises(TokenFileError):
            read_dac(with_pickle(bomb))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "codes"),
        ({"codes": np.zeros((1, 9, 4), np.uint16)}, "metadata"),
        (dac_dict() | {"codes": np.zeros((1, 9, 4), np.float32)}, "codes must be integers"),
        (dac_dict() | {"codes": np.full((1, 9, 4), 1024, np.uint16)}, "from 0 to 1023"),
        (dac_dict() | {"codes": np.zeros((9, 4), np.uint16)}, "items, codebooks, frames"),
        (dac_dict(sample_rate=8000), "sample rate"),
        (dac_dict(original_length=-1), "original_length"),
        (dac_dict(original_length="many"), "original_length .* another str"),
        (dac_dict(dac_version=("1.0.0",) * 3), "a string was expected"),
        ([1, 2], "outermost array"),
    ],
)
def test_bad_contents(content, message):
    with pytest.raises(TokenFileError, match=message):
        read_dac(save(content))


def test_names_by_rate_and_depth_or_as_told():
    assert read_dac(dac_bytes()).codec == "dac_44khz"
    assert read_dac(dac_bytes(codebooks=18)).codec == "dac_44khz_16kbps"
    assert read_dac(dac_bytes(), "mine").codec == "mine"


def test_plain_arrays_and_cuts():
    file = io.BytesIO()
    np.save(file, np.zeros((9, 4), np.uint16))
    with pytest.raises(TokenFileError, match="pass them to codec"):
        read_dac(file.getvalue())
    data = dac_bytes(frames=2)
    for n in range(len(data)):
        with pytest.raises(TokenFileError):
            read_dac(data[:n])
