"""Memory of a stream of three minutes is that of half a minute, with codecs that see far or everything."""

import inspect
import subprocess
import sys

import pytest

from ..conftest import stand_in_for_torchaudio
from .small_codecs import small_codec

MEGABYTES = 40  # of growth; one pass over three minutes takes more with each of these
PROGRAM = f"""
import importlib.machinery, resource, sys, types
{inspect.getsource(stand_in_for_torchaudio)}
stand_in_for_torchaudio()
import torch, toneme
torch.set_num_threads(1)
codec = toneme.load(sys.argv[1])
for minutes in (0.5, 3):
    encoder, decoder = codec.stream_encoder(), codec.stream_decoder()
    for _ in range(round(6 * minutes)):
        decoder.push(encoder.push_tokens(torch.randn(1, codec.spec.channels, 10 * codec.spec.sample_rate) * 0.1))
    decoder.push(encoder.flush_tokens())
    decoder.flush(encoder.n_samples)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bigcodec", "dac", "speechtokenizer", "xcodec"])
def test_three_minutes_take_no_more_memory_than_half_of_one(name: str, tmp_path):
    if name == "xcodec":
        pytest.importorskip("transformers", reason="X-Codec needs transformers: pip install toneme[train]")
    small_codec(name).save(tmp_path)
    ran = subprocess.run([sys.executable, "-P", "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    short, long = map(int, ran.stdout.split())
    assert long - short < MEGABYTES
