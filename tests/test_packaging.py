"""The package as users get it: every folder and data file is in the wheel, imports point down, bare names are never used."""

import ast
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ["kernels", "quantizers", "codecs", "lm", "export", "eval", "recipes"]  # each may import those before it
WITH_IT = ["CHANGELOG.md", "constraints.txt"]  # of no folder, and in the sdist
MAY_IMPORT = {
    "kernels": set(),
    "quantizers": {"kernels"},
    "codecs": {"quantizers", "kernels"},
    "lm": {"codecs", "quantizers", "kernels"},
    "export": {"codecs", "quantizers", "kernels"},
    "eval": {"lm", "codecs", "quantizers", "kernels"},
    "recipes": {"eval", "lm", "codecs", "quantizers", "kernels"},
}


def settings() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def package_folders() -> dict[str, Path]:
    return {name: ROOT / path for name, path in settings()["tool"]["setuptools"]["package-dir"].items()}


def sources() -> list[Path]:
    return sorted(path for folder in [*FOLDERS, "toneme"] for path in (ROOT / folder).rglob("*.py"))


def test_every_folder_of_code_is_a_listed_package():
    with_code = {path.parent for path in sources()}
    assert with_code == set(package_folders().values())
    assert sorted(settings()["tool"]["setuptools"]["packages"]) == sorted(package_folders())


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    tree = tmp_path_factory.mktemp("tree")
    for name in [*FOLDERS, "toneme"]:
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    (tree / "tests").mkdir()
    for name in ["pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", *WITH_IT, "tests/test_packaging.py"]:
        shutil.copy(ROOT / name, tree / name)
    build("sdist", tree)
    return next(tree.glob("*.tar.gz"))


def build(kind: str, tree: Path) -> None:
    code = f"from setuptools import build_meta; print(build_meta.build_{kind}('.'))"
    subprocess.run([sys.executable, "-P", "-c", code], cwd=tree, check=True, capture_output=True)


@pytest.fixture(scope="module")
def built(sdist, tmp_path_factory) -> zipfile.ZipFile:
    """The wheel as installers build it: of what the sdist holds."""
    place = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(place, filter="data")
    tree = next(place.iterdir())
    build("wheel", tree)
    return zipfile.ZipFile(next(tree.glob("*.whl")))


@pytest.fixture(scope="module")
def wheel(built) -> list[str]:
    return built.namelist()


def test_the_sdist_holds_no_tests_without_what_they_need(sdist):
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert [name for name in names if name.startswith("tests")] == []
    assert {"LICENSE", "kernels/c/kernels.h", *WITH_IT} <= set(names)


def test_the_wheel_holds_every_module(wheel):
    for package, folder in package_folders().items():
        for path in folder.glob("*.py"):
            assert f"{package.replace('.', '/')}/{path.name}" in wheel


def test_the_wheel_holds_every_data_file(wheel):
    tracked = subprocess.run(["git", "ls-files", *FOLDERS, "toneme"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout: which data files belong to the package cannot be told")
    for name in tracked.stdout.split():
        if not name.endswith(".py") and (ROOT / name).is_file():
            inside = name if name.startswith("toneme/") else f"toneme/{name}"
            assert inside in wheel, f"{name} is in the repository but not in the wheel: add it to package-data"


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_the_wheel_holds_the_kernels_in_c(wheel):
    assert any(name.startswith("toneme/kernels/_native") for name in wheel)


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_the_kernels_do_not_say_where_they_were_built(built, wheel):
    library = built.read(next(name for name in wheel if name.startswith("toneme/kernels/_native")))
    assert b"kernels/c/" not in library
    assert b"unpacked" not in library  # the folder that it was built in


def imported(path: Path) -> list[tuple[int, str]]:
    """Return (dots, module) of every import, inside functions too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            found.append((node.level, node.module or ""))
        elif isinstance(node, ast.Import):
            found.extend((0, alias.name) for alias in node.names)
    return found


def test_every_module_is_imported_where_the_system_is_no_unix():
    names = [f"{package}.{path.stem}" for package, folder in package_folders().items() for path in folder.glob("[!_]*.py")]
    without = "import sys, importlib, torch; sys.modules |= dict.fromkeys(['resource', 'fcntl', 'termios', 'pwd'])"
    code = f"{without}; [importlib.import_module(name) for name in sys.argv[1:]]"
    wanted = [name for name in names if not name.endswith("_triton")]
    done = subprocess.run([sys.executable, "-P", "-c", code, *wanted], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down_and_never_at_bare_folders(path):
    folder = path.relative_to(ROOT).parts[0]
    depth = len(path.relative_to(ROOT).parts) - 1
    for dots, module in imported(path):
        first = module.split(".")[0]
        if dots == 0:
            assert first not in {*FOLDERS} - {"codecs"}, f"{path.name} imports {module}: write toneme.{module}"
        elif dots > depth and folder != "toneme":
            assert first in MAY_IMPORT[folder], f"{folder} must not import {first}"


def test_the_extra_of_metrics_has_what_they_need():
    """What a metric whose package is missing says to install must bring that package."""
    from toneme.eval.metrics import all_metrics

    extra = " ".join(settings()["project"]["optional-dependencies"]["eval"])
    needed = {package for metric in all_metrics().values() for package in metric.packages}
    assert [package for package in sorted(needed) if package not in extra] == []


def test_the_base_install_has_no_optional_dependency():
    base = " ".join(settings()["project"]["dependencies"])
    for name in ["onnx", "transformers", "tensorboard", "pesq", "ray", "matplotlib", "yaml"]:
        assert name not in base


def test_messages_install_extras_that_there_are_and_from_where_toneme_is():
    """No index has toneme, so `pip install toneme[X]` would fetch nothing, or something else."""
    code = [path.read_text() for folder in ["toneme", *FOLDERS] for path in (ROOT / folder).rglob("*.py")]
    assert not [text for text in code if "toneme[" in text]
    named = {name for text in code for name in re.findall(r"how_to_install\([\"'](\w+)[\"']\)", text)}
    assert {"train", "eval", "export", "serve", "lm", "cluster", "play"} <= named
    assert named <= settings()["project"]["optional-dependencies"].keys()
