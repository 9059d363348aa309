"""Compile all kernels for sm_90 as their callers configure them; one line of JSON each. Run by test_compiled.py."""

import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from toneme.kernels import (
    decode_triton,
    factorised_triton,
    nearest_triton,
    rescan_triton,
    rotation_triton,
    snake_triton,
    split_triton,
    statistics_triton,
)
from toneme.kernels.rescan import TIE

CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
TYPES = {"f": "*fp32", "d": "*fp64", "b": "*bf16", "i": "*i32", "l": "*i64", "c": "*i8", "n": "i32"}


def report(name: str, kernel: Any, types: str, tensor_cores: bool = False, **constants: Any) -> None:
    """Compile with one letter of `types` per run-time argument; constants may hold num_warps and num_stages."""
    options = {key: constants.pop(key) for key in ("num_warps", "num_stages") if key in constants}
    runtime = [argument for argument in kernel.arg_names if argument not in constants]
    signature = {argument: TYPES[letter] for argument, letter in zip(runtime, types, strict=True)}
    source = ASTSource(fn=kernel, signature=signature | dict.fromkeys(constants, "constexpr"), constexprs=constants)
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(compiled.asm["cubin"])
        assembly = subprocess.run([CUOBJDUMP, "-sass", file.name], capture_output=True, text=True, check=True).stdout
        usage = subprocess.run([CUOBJDUMP, "-res-usage", file.name], capture_output=True, text=True, check=True)
    found = re.search(r"REG:(\d+) STACK:(\d+)", usage.stdout + usage.stderr)
    line = {
        "name": name,
        "registers": int(found[1]),
        "spills": int(found[2]) + len(re.findall(r"\b(?:STL|LDL)\b", assembly)),
        "shared": compiled.metadata.shared,
        "tensor_cores": tensor_cores,
        "instructions": assembly.count("HGMMA"),
    }
    print(json.dumps(line), flush=True)


for width in (16, 64, 128, 256):
    options = nearest_triton.fused_options(width)
    report(f"fused {width}", nearest_triton.fused_kernel, "ffbbffllnnnn", True, D=width, INTERP=False, **options)
for width in (512, 768):
    report(f"staged {width}", nearest_triton.staged_kernel, "bbbbfiifnn", True, D=width, INTERP=False, **nearest_triton.STAGED)
for width in (64, 256, 768):
    options = {"D": width, "SHARES": split_triton.MOST_SHARES, "MERGE": True, "SEARCH": True, **split_triton.OPTIONS}
    report(f"split {width}", split_triton.split_kernel, "fffffffifillnnnn", **options)
report("settle", nearest_triton.settle_kernel, "fffiifllnnn", D=512, BN=16, BD=64, UPDATE=True)
for width in (8, 128, 1024):
    report(f"rescan {width}", rescan_triton.rescan_kernel, "ffllcnnnnn", TIE=TIE, **rescan_triton.options(width))
factorised = factorised_triton.OPTIONS
report("factorised", factorised_triton.factorised_kernel, "ddfbbbflcnnn", True, d=8, QP=16, W=16, INTERP=False, **factorised)
report("statistics", statistics_triton.statistics_kernel, "fllldnn", BN=32, BD=128, ROUND=statistics_triton.ROUND)
report("rotation", rotation_triton.rotation_backward_kernel, "ffffnn", EPS=1e-6, BN=16, BD=128)
report("decode", decode_triton.decode_kernel, "lffnnnn", BN=32, BD=128)
report("snake", snake_triton.forward_kernel, "ffffnn", EPS=1e-9, BLOCK=1024)
report("snake backward", snake_triton.backward_kernel, "fffffffnn", EPS=1e-9, BLOCK=1024)
