"""The page: where its files are, and how it becomes a folder of static files. Needs nothing beside the standard library."""

import shutil
from pathlib import Path

from ..kernels.errors import CheckpointError
from .manifest import FILE, read_manifest
from .storage import files_of

PAGE = Path(__file__).with_name("web")
RUNTIME_FILES = {  # of the npm package onnxruntime-web, in its folder `dist`
    "ort.wasm.min.mjs": "text/javascript",
    "ort-wasm-simd-threaded.mjs": "text/javascript",
    "ort-wasm-simd-threaded.wasm": "application/wasm",
}
INSTALLED = Path("node_modules") / "onnxruntime-web"  # where `npm install onnxruntime-web` puts it
SECURITY = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; media-src 'self' blob:; "
    "img-src 'self' data:; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def runtime_folder(named: Path | None) -> Path | None:
    """Return the folder of onnxruntime-web's files: the one named, or npm's below the working folder; None without either.

    Raises:
        CheckpointError: if a folder was named and its files are not there.
    """
    for folder in (named or INSTALLED, (named or INSTALLED) / "dist"):
        if all((folder / name).is_file() for name in RUNTIME_FILES):
            return folder
    if named is not None:
        raise CheckpointError(
            f"{named} does not hold onnxruntime-web ({', '.join(RUNTIME_FILES)}): name the folder that "
            "`npm install onnxruntime-web` makes, node_modules/onnxruntime-web"
        )
    return None


def write_page(folder: Path, target: Path, runtime: Path | None) -> None:
    """Write the page, an exported codec and onnxruntime-web into a folder that any web server can serve.

    Raises:
        CheckpointError: if `folder` holds no exported codec, or onnxruntime-web is not there.
    """
    manifest, files = read_manifest(folder), runtime_folder(runtime)
    if files is None:
        raise CheckpointError(
            "the page needs onnxruntime-web: run `npm install onnxruntime-web`, or name its folder with --onnxruntime-web"
        )
    shutil.copytree(PAGE, target, dirs_exist_ok=True)
    (target / "model").mkdir(exist_ok=True)
    (target / "ort").mkdir(exist_ok=True)
    sides = [side for side in (manifest.encoder, manifest.decoder) if side]
    for path in (folder / FILE, *(path for side in sides for path in files_of(folder, side))):
        shutil.copyfile(path, target / "model" / path.name)
    for name in RUNTIME_FILES:
        shutil.copyfile(files / name, target / "ort" / name)
