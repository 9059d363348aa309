"""Mimi exported: attention over keys and values that are kept in rings, and two branches of codes."""

import numpy as np
import pytest
import torch

from toneme.codecs.layers.seanet import SEANetConfig
from toneme.codecs.layers.transformer import TransformerConfig
from toneme.codecs.mimi import MimiCodec, MimiConfig
from toneme.export.folder import export_codec
from toneme.export.runtime import StreamingCodec

from .agreement import AUDIO, check_share, decode_in_pieces, encode_in_pieces, partitions
from .families import check_cuts, check_depths, check_lengths, lively, noise

CONTEXT = 7
SMALL = MimiConfig(
    seanet=SEANetConfig(
        dimension=32, filters=4, ratios=(4, 2), last_kernel=3, pad_mode="constant", true_skip=True, lstm=0
    ),
    transformer=TransformerConfig(width=32, heads=2, layers=2, hidden=64, context=CONTEXT),
    codebooks=4, codebook_size=32, code_width=8,
)  # fmt: skip


@pytest.fixture(scope="module")
def codec() -> MimiCodec:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return lively(MimiCodec(SMALL, "small-mimi"))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def exported(codec, tmp_path_factory) -> StreamingCodec:
    folder = tmp_path_factory.mktemp("export") / "mimi"
    export_codec(codec, folder)
    return StreamingCodec(folder)


def test_any_length_is_pytorchs(codec, exported):
    check_lengths(codec, exported)


def test_any_cut_gives_the_whole(codec, exported):
    check_cuts(codec, exported, 1500, (7, 16, 48, 112, 1500))


def test_any_depth_is_pytorchs_the_semantic_code_alone_too(codec, exported):
    check_depths(codec, exported)


@pytest.mark.parametrize("seed", [0, 1])
def test_random_pieces_of_a_batch_are_the_whole_far_beyond_the_ring(codec, exported, seed):
    audio = noise(1500)  # 188 frames of the transformer, of which a ring holds 6
    tokens = codec.encode(audio)
    cuts = partitions(1500, (5, 16, 40, 130, 500), seed)
    check_share(encode_in_pieces(exported.encoder(batch=2), audio.numpy(), cuts), tokens.codes.numpy(), least=0.99)
    cuts = partitions(tokens.codes.shape[-1], (1, 2, 3, 7, 31), seed)
    sound = decode_in_pieces(exported.decoder(batch=2), tokens.codes.numpy(), cuts, 1500)
    np.testing.assert_allclose(sound, codec.decode(tokens).numpy(), atol=AUDIO, rtol=0)


@pytest.mark.parametrize("in_turns", [True, False])
def test_a_stream_restored_goes_on_wherever_its_ring_stands(codec, exported, in_turns):
    tokens = codec.encode(noise(640, batch=1))
    frames = np.split(tokens.codes.numpy(), tokens.codes.shape[-1], axis=-1)
    stream, other = exported.decoder(), exported.decoder()
    stream._in_turns = other._in_turns = in_turns
    sound, saved = [], []
    for frame in frames:
        saved.append(stream.save())
        sound.append(stream.push(frame))
    np.testing.assert_allclose(np.concatenate(sound, -1), codec.decode(tokens).numpy(), atol=AUDIO, rtol=0)
    for at in (17, 2, 30, 3):  # of these the other's ring is in another place each time
        other.restore(saved[at])
        found = [other.push(frame) for frame in frames[at : at + 6]]
        np.testing.assert_array_equal(np.concatenate(found, -1), np.concatenate(sound[at : at + 6], -1))
    stream.reset()
    np.testing.assert_array_equal(np.concatenate([stream.push(frame) for frame in frames], -1), np.concatenate(sound, -1))


def test_streams_that_began_at_different_times_share_calls(codec, exported):
    tokens = codec.encode(noise(640, batch=3))
    codes, whole, begun = tokens.codes.numpy(), codec.decode(tokens).numpy(), (0, 4, 19)
    together, states = exported.decoder(batch=3), []
    for item, at in enumerate(begun):
        alone = exported.decoder()
        alone.push(codes[item : item + 1, :, :at])
        states.append(alone._states)
    together._states = {name: np.concatenate([state[name] for state in states]) for name in states[0]}
    for step in range(20):
        now = np.concatenate([codes[item : item + 1, :, at + step : at + step + 1] for item, at in enumerate(begun)])
        sound, hop = together.push(now), exported.manifest.decoder.unit
        expected = [whole[item, :, (at + step) * hop : (at + step + 1) * hop] for item, at in enumerate(begun)]
        np.testing.assert_allclose(sound, np.stack(expected), atol=AUDIO, rtol=0)


def test_keys_and_values_are_rings_and_everything_else_is_not(exported):
    for side in (exported.manifest.encoder, exported.manifest.decoder):
        states = {state.name: state for state in side.states}
        assert states["key_ring.0"].shape == states["value_ring.1"].shape == ("batch", 2, CONTEXT - 1, 16)
        assert states["position"].shape == ("batch",)
        assert {state.name for state in side.states if state.ring == 2} == {
            f"{kind}_ring.{n}" for kind in ("key", "value") for n in range(2)
        }
        given = {value.name: value.shape for value in exported.session(side.file).get_outputs()}
        assert given["next.key_ring.1"] == given["next.value_ring.0"] == ["batch", 2, "2*frames", 16]
