"""Codes by a beam: nearer to the latents, the same whole or in pieces, and told to the codecs that have residual codebooks."""

import copy
import pickle

import pytest
import torch

from toneme.codecs.base import Codec
from toneme.codecs.errors import ShapeError
from toneme.codecs.mimi import MimiCodec
from toneme.codecs.wavtokenizer import WavTokenizerCodec
from toneme.kernels.beam import score

from .small_codecs import CODECS, small_codec
from .test_base import build as build_random
from .test_base import noise
from .test_mimi import SMALL as MIMI
from .test_wavtokenizer import SMALL as WAVTOKENIZER


def build() -> Codec:
    """Return a codec whose codebooks are about as large as its latents, so that frames have codes of their own."""
    made = build_random()
    latents = made.encoder(noise(1, 1, 4000))
    made.quantizer.start((latents + torch.randn(latents.shape) * latents.std()).transpose(1, 2).flatten(0, 1))
    return made


@pytest.fixture
def codec() -> Codec:
    made = build()
    made.set_encode_options(beam=4)
    return made


def test_the_codes_are_nearer_to_the_latents(codec):
    audio = noise(2, 1, 800)
    latents = codec.encoder(audio).transpose(1, 2).flatten(0, 1)
    plain, found = build().encode(audio).codes, codec.encode(audio).codes
    books = codec.quantizer.codebooks
    near, far = (score(latents, books, codes.transpose(1, 2).flatten(0, 1)) for codes in (found, plain))
    assert bool((near <= far).all())
    assert near.mean() < 0.95 * far.mean()
    assert len(plain.unique()) > 8


def test_pieces_and_batches_give_the_codes_of_the_whole(codec):
    audio = noise(2, 1, 801)
    whole = codec.encode(audio).codes
    stream = codec.stream_encoder(batch=2)
    pieces = [stream.push(part) for part in audio.split(97, dim=-1)]
    assert torch.equal(torch.cat([*pieces, stream.flush()], dim=-1), whole)
    assert torch.equal(codec.encode(audio[1:]).codes, whole[1:])


def test_tokens_say_so_and_are_those_of_the_same_weights(codec):
    tokens = codec.encode(noise(1, 1, 500))
    assert dict(tokens.metadata) == {"beam": "4"}
    assert dict(build().encode(noise(1, 1, 500)).metadata) == {}
    assert torch.equal(build().decode(tokens), codec.decode(tokens))


def test_it_is_kept_by_copies_and_never_saved(codec, tmp_path):
    for other in (copy.deepcopy(codec), pickle.loads(pickle.dumps(codec)), copy.deepcopy(codec).to(torch.bfloat16)):
        assert other.encode_options == {"beam": 4}
    build().save(tmp_path / "plain")
    codec.save(tmp_path / "told")
    assert (tmp_path / "told" / "config.json").read_bytes() == (tmp_path / "plain" / "config.json").read_bytes()
    codec.set_encode_options(beam=1)
    assert torch.equal(codec.encode(noise(1, 1, 500)).codes, build().encode(noise(1, 1, 500)).codes)


def test_of_split_codebooks_the_semantic_one_stays_as_it_is():
    torch.manual_seed(0)
    mimi = MimiCodec(MIMI).eval()
    audio = noise(1, 1, 4000)
    plain = mimi.encode(audio).codes
    mimi.set_encode_options(beam=8)
    found = mimi.encode(audio).codes
    assert torch.equal(found[:, :1], plain[:, :1])
    assert not torch.equal(found, plain)


@pytest.mark.parametrize(("options", "why"), [
    ({"beam": 0}, "beam must be at least 1; got 0"),
    ({"beam": 2.5}, "beam must be a whole number; got 2.5"),
    ({"width": 2}, "tiny cannot be told width when it encodes: it can be told beam"),
])  # fmt: skip
def test_what_cannot_be_told_is_one_sentence(codec, options, why):
    with pytest.raises(ShapeError, match=f"^{why}$"):
        codec.set_encode_options(**options)
    assert codec.encode_options == {"beam": 4}


def test_a_codec_of_one_codebook_has_nothing_to_search():
    codec = WavTokenizerCodec(WAVTOKENIZER).eval()
    assert codec.encode_options == {}
    with pytest.raises(ShapeError, match="cannot be told beam when it encodes: the audio alone says what its codes are"):
        codec.set_encode_options(beam=4)


def test_every_family_with_residual_codebooks_takes_a_beam():
    told = []
    for name in CODECS:
        codec = small_codec(name)
        if not codec.encode_options:
            continue
        codec.set_encode_options(beam=4)
        tokens = codec.encode(noise(1, codec.spec.channels, codec.spec.sample_rate // 5))
        assert tokens.metadata["beam"] == "4"
        assert codec.decode(tokens).isfinite().all()
        told.append(codec.family)
    assert set(told) == {"encodec", "mimi", "speechtokenizer", "toneme", "xcodec"}
