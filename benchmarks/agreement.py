"""How codes and audio in bfloat16, or on a GPU, agree with those in 32 bits on the CPU, for codecs of every family.

python -P benchmarks/agreement.py [NAME_OR_FOLDER ...] [--device cpu] [--dtype bfloat16] [--seconds 2] [--audio FILE]

A NAME is a packaged codec, or one with synthetic weights in tests/goldens, whose latents are spread like those of a trained
codec; all of those by default. X-Codec-2's speech model, of which there are no golden weights, gets random ones. DM-Codec is
SpeechTokenizer's network. A FOLDER is any codec's own.
"""

import argparse
import functools
import importlib.util
import math
from pathlib import Path
from types import ModuleType

import torch

import toneme
from toneme.codecs.agreement import agreement
from toneme.codecs.base import Codec
from toneme.codecs.teachers import Teacher
from toneme.codecs.xcodec2 import TEACHER, XCodec2

ROOT = Path(__file__).parents[1]
GOLDENS = ROOT / "tests" / "goldens"
OFFICIAL = (
    "dac_16khz", "dac_24khz", "dac_44khz", "encodec_24khz", "encodec_48khz", "mimi", "snac_24khz", "speechtokenizer",
    "wavtokenizer_75", "bigcodec", "xcodec_hubert_general", "xcodec2", "semanticodec_100",
)  # fmt: skip


def golden(name: str) -> Codec:
    """Return a codec with the synthetic weights of its golden outputs."""
    if name == "semanticodec_100":
        return toneme.from_official(name, semanticodec_files())
    codec = toneme.from_official(name, filled(name))
    if isinstance(codec, XCodec2):
        codec.use_teacher(Teacher.from_config(TEACHER).eval())
    return codec


def semanticodec_files() -> dict[str, dict[str, torch.Tensor] | torch.Tensor]:
    """Return what the files of SemantiCodec at 100 codes a second hold; what only training uses is left empty."""
    files: dict[str, dict[str, torch.Tensor] | torch.Tensor] = {}
    for part in ("encoder", "decoder"):
        spec = fill().load_spec(str(GOLDENS / f"semanticodec_{part}_100"))
        empty = {name: torch.zeros(()).expand(shape) for name, shape, _ in spec.get("full_key_list", [])}
        files[part] = empty | filled(f"semanticodec_{part}_100")
        if centres := spec.get("centroids"):
            array = fill().fill(centres["name"], centres["shape"], centres["rule"], spec["salt"])
            files["centroids"] = torch.from_numpy(array)
    return files


def filled(folder: str) -> dict[str, torch.Tensor]:
    """Return the synthetic weights of a folder of golden outputs, official name -> tensor."""
    spec = fill().load_spec(str(GOLDENS / folder))
    return {name: torch.from_numpy(array) for name, array in fill().state_dict(spec).items()}


@functools.cache
def fill() -> ModuleType:
    """Return the module that makes synthetic weights."""
    spec = importlib.util.spec_from_file_location("fill", GOLDENS / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME_OR_FOLDER", default=["default", *OFFICIAL])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16", "float32"])
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--audio", type=Path, default=ROOT / "samples" / "speech.wav")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    print(f"{given.dtype} on {given.device}, against float32 on cpu\n")
    print("| codec | codes of the first codebook | of all | audio of the same codes, dB |\n|---|---|---|---|")
    for name in given.names:
        codec = golden(name) if name in OFFICIAL else toneme.load(name)
        audio, rate = toneme.read_audio(given.audio, codec.spec.sample_rate)
        audio = audio[:, : round(given.seconds * rate)].mean(0).expand(1, codec.spec.channels, -1)
        found = agreement(codec, audio, getattr(torch, given.dtype), given.device)
        mean = sum(found.codes) / len(found.codes)
        snr = f"{found.snr:.1f}" if math.isfinite(found.snr) else "-"  # random weights may sound beyond all numbers
        print(f"| {codec.name} | {found.codes[0]:.2%} | {mean:.2%} | {snr} |", flush=True)


if __name__ == "__main__":
    main()
