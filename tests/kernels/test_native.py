"""The library of C kernels: that it was built here, and what happens without it."""

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from toneme.kernels import native


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


def test_a_processor_without_avx2_has_none(monkeypatch):
    class Old:
        toneme_processor = staticmethod(lambda: native.NONE)

    monkeypatch.setattr(native.ctypes, "CDLL", lambda path: Old)
    native.library.cache_clear()
    try:
        assert native.library() is None
    finally:
        native.library.cache_clear()


def test_wider_products_are_left_to_torch(monkeypatch):
    class Wide:
        toneme_processor = staticmethod(lambda: native.WIDER)

    monkeypatch.setattr(native, "library", lambda: Wide)
    assert native.products() is None
