"""X-Codec exported: the semantic model is among the encoder's layers, and chunks are those of the codec's own streams."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import toneme
from toneme.codecs.layers.dac_blocks import DacBlocksConfig
from toneme.codecs.teachers import TeacherConfig
from toneme.codecs.xcodec import XCodec, XCodecConfig
from toneme.export.codec import ExportedCodec
from toneme.export.folder import export_codec
from toneme.export.runtime import StreamingCodec
from toneme.export.xcodec import directions

from .agreement import AUDIO, check_codes, check_share, encode_in_pieces, partitions
from .families import check_chunks, lively, noise

pytest.importorskip("transformers", reason="X-Codec needs transformers: pip install toneme[train]")
SETTINGS = {
    "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2, "conv_dim": (8,) * 7,
}  # fmt: skip
STRIDES = {"hubert": (5, 64), "wavlm": (320,)}  # an odd one; few stages, which take long to trace
HOP, CHUNK, WINDOW = 320, 20, 5  # samples, and frames
FIRST = (CHUNK + WINDOW) * HOP  # samples that the first chunk of a stream waits for
# hardly a frame, 318 and 319 on either side of where the acoustic encoder finds the frame too, one chunk, several
LENGTHS = (80, 81, 318, 319, 320, 399, 3333, FIRST - 1, FIRST, FIRST + 79, FIRST + 81, 3 * FIRST + 1234)


def small(kind: str, **settings) -> XCodec:
    """Return an untrained codec with a semantic model of a kind."""
    strides = STRIDES[kind]
    blocks = DacBlocksConfig(4, strides, 16, 4 * 2 ** len(strides), up_strides=strides, tanh=False)
    teacher = TeacherConfig(kind, None, tuple(SETTINGS.items()))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = XCodecConfig(blocks=blocks, teacher=teacher, codebook_size=64, chunk=0.4, window=WINDOW * HOP, **settings)
        return lively(XCodec(config, f"small-{kind}"))  # type: ignore[return-value]


@pytest.fixture(scope="module", params=["hubert", "wavlm"])
def codec(request: pytest.FixtureRequest) -> XCodec:
    return small(request.param)


@pytest.fixture(scope="module")
def folder(codec, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("export") / codec.name
    export_codec(codec, folder)
    return folder


@pytest.fixture(scope="module")
def exported(folder) -> StreamingCodec:
    return StreamingCodec(folder)


def streamed(codec: XCodec, audio: np.ndarray, spans: list[tuple[int, int]]) -> np.ndarray:
    """Return the codes that PyTorch's stream gives of audio pushed in pieces."""
    encoder = codec.stream_encoder(len(audio))
    pieces = [encoder.push(torch.from_numpy(audio[..., start:stop])) for start, stop in spans]
    return torch.cat([*pieces, encoder.flush()], dim=-1).numpy()  # type: ignore[list-item]


@pytest.mark.slow
def test_codes_of_any_length_are_pytorchs(codec, exported):
    for batch in (1, 3):
        for samples in LENGTHS:
            audio = noise(samples, batch)
            check_share(exported.encode(audio.numpy()), codec.encode(audio).codes.numpy())
    for samples in (0, 1, 79):
        assert exported.encode(np.zeros((2, 1, samples), np.float32)).shape == (2, 8, 0)
    assert codec.encode(noise(79)).codes.shape == (2, 8, 0)


@pytest.mark.slow
def test_no_code_is_nearer(codec, exported):
    for samples in (81, 3333):
        audio = noise(samples)
        check_codes(exported.encode(audio.numpy()), codec.latents(audio), codec.quantizer.codebooks)


@pytest.mark.slow
def test_streams_give_the_codes_of_the_whole_however_cut(codec, exported):
    audio = noise(3 * FIRST + 1234).numpy()
    spans = partitions(audio.shape[-1], (1, 79, 320, 5000, 9999), seed=1)
    expected = codec.encode(torch.from_numpy(audio)).codes.numpy()
    np.testing.assert_array_equal(streamed(codec, audio, spans), expected)
    for cut in (spans, partitions(audio.shape[-1], (333,)), [(0, audio.shape[-1])]):
        check_share(encode_in_pieces(exported.encoder(batch=2), audio, cut), expected)


@pytest.mark.slow
def test_chunks_as_short_as_asked_for_are_pytorchs(codec, folder):
    check_chunks(codec, folder, 0.1, 3 * FIRST + 1234)


@pytest.mark.slow
def test_the_delay_is_the_declared_one(exported):
    encoder, side = exported.encoder(), exported.manifest.encoder
    assert (side.unit, side.delay) == (HOP, FIRST - HOP)
    assert encoder.push(np.zeros(FIRST - 1, np.float32)).shape[-1] == 0
    assert encoder.push(np.zeros(1, np.float32)).shape[-1] == CHUNK


@pytest.mark.slow
def test_a_stream_goes_on_where_another_was_saved(exported):
    audio = noise(3 * FIRST, batch=1).numpy()
    first, second = exported.encoder(), exported.encoder()
    before = first.push(audio[..., : FIRST + 500])
    second.restore(first.save())
    pieces = [before, second.push(audio[..., FIRST + 500 :]), second.flush()]
    np.testing.assert_array_equal(np.concatenate(pieces, axis=-1), exported.encode(audio))


@pytest.mark.slow
def test_the_end_is_filled_up_where_the_codec_does(codec, folder):
    other = XCodec(replace(codec.config, moves_acoustic=False), codec.name).eval()
    other.load_state_dict(codec.state_dict())
    side = directions(other, 8)[0].side  # type: ignore[union-attr]
    exported = StreamingCodec(folder)
    assert (side.filled, exported.manifest.encoder.filled) == (True, False)
    exported.manifest = replace(exported.manifest, encoder=side)
    for samples in (80, 399, 3333):
        audio = noise(samples)
        check_share(exported.encode(audio.numpy()), other.encode(audio).codes.numpy())


@pytest.mark.slow
def test_tokens_are_the_codecs(codec, folder):
    commands = ExportedCodec(folder)
    audio = noise(3 * FIRST + 79, batch=1)
    ours, theirs = commands.encode(audio), codec.encode(audio)
    assert (ours.n_samples, commands.window) == (audio.shape[-1], codec.window)
    assert (commands.n_frames(79), commands.n_frames(80)) == ((0,), (1,))
    check_share(ours.codes.numpy(), theirs.codes.numpy())


@pytest.mark.slow
def test_codes_sound_as_pytorch_lets_them(codec, exported):
    codes = torch.randint(0, 64, (2, 8, 70), generator=torch.Generator().manual_seed(1))
    for depth in (8, 3):
        expected = codec.decode(codec.tokens_from_codes(codes[:, :depth]))
        np.testing.assert_allclose(exported.decode(codes[:, :depth].numpy()), expected.numpy(), atol=AUDIO, rtol=0)


@pytest.mark.slow
def test_only_the_decoder_where_the_semantic_model_is_of_another_kind(folder):
    settings = tuple({**SETTINGS, "conv_pos_batch_norm": True}.items())
    codec = small("hubert")
    assert directions(XCodec(replace(codec.config, teacher=TeacherConfig("hubert", None, settings))), 8)[0] is None
    exported = StreamingCodec(folder)
    exported.manifest = replace(exported.manifest, encoder=None)
    with pytest.raises(toneme.ShapeError, match="only decodes without torch"):
        exported.encoder()
