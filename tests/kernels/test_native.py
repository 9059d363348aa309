"""The library of C kernels: that it was built here, and what happens without it."""

import hashlib
import platform
import re
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from toneme.kernels import library, native

FUNCTIONS = "187a793df0a7fb05"  # a hash of the signatures of version 4


def has_avx2() -> bool:
    cpu = Path("/proc/cpuinfo")
    return platform.machine() == "x86_64" and cpu.exists() and {"avx2", "fma"} <= set(cpu.read_text().split())


@pytest.mark.skipif(not has_avx2() or shutil.which("cc") is None, reason="needs a C compiler and a processor with AVX2")
def test_the_library_is_there_where_it_can_be_built():
    assert native.library() is not None


def test_it_can_be_turned_off():
    program = "from toneme.kernels import native; print(native.library(), native.products())"
    ran = subprocess.run([sys.executable, "-P", "-c", program], env={"TONEME_NATIVE": "0"}, capture_output=True, text=True)
    assert ran.stdout.split() == ["None", "None"]


@pytest.fixture
def load(monkeypatch):
    """`library()` as it answers where the file that was built is such an object."""

    def answer(built: object) -> object:
        monkeypatch.setattr(library.ctypes, "CDLL", lambda path: built)
        native.library.cache_clear()
        return native.library()

    yield answer
    native.library.cache_clear()


def test_a_processor_without_avx2_has_none(load):
    class Old:
        toneme_version = staticmethod(lambda: native.VERSION)
        toneme_processor = staticmethod(lambda: native.NONE)

    assert load(Old) is None


def test_wider_products_are_left_to_torch(monkeypatch):
    class Wide:
        toneme_processor = staticmethod(lambda: native.WIDER)

    monkeypatch.setattr(native, "library", lambda: Wide)
    assert native.products() is None


@pytest.mark.parametrize("version", [None, native.VERSION - 1])
def test_what_an_older_checkout_built_is_not_called(load, version):
    class Stale:
        toneme_processor = staticmethod(lambda: native.AVX2)

    if version is not None:
        Stale.toneme_version = staticmethod(lambda: version)
    assert load(Stale) is None


def test_what_the_system_does_not_load_is_left(tmp_path, monkeypatch):
    (tmp_path / f"_native{EXTENSION_SUFFIXES[0]}").write_bytes(b"no library")
    monkeypatch.setattr(library, "__file__", str(tmp_path / "library.py"))
    native.library.cache_clear()
    try:
        assert native.library() is None
    finally:
        native.library.cache_clear()


def test_the_version_is_the_headers_and_that_of_the_functions_as_they_are():
    folder = Path(native.__file__).parent / "c"
    header = (folder / "kernels.h").read_text()
    assert f"#define TONEME_VERSION {native.VERSION}\n" in header
    sources = "".join(path.read_text() for path in sorted(folder.glob("*.c")))
    functions = re.findall(r"^(?:KERNEL )?\w+ \**(toneme_\w+\([^)]*\)) \{", sources, re.M)
    assert len(functions) == len({function.split("(")[0] for function in functions}) >= 12
    known = hashlib.sha256(" ".join(" ".join(functions).split()).encode()).hexdigest()[:16]
    assert known == FUNCTIONS, (
        "a function that Python calls has changed: give native.VERSION, kernels.h and this test a new one"
    )
