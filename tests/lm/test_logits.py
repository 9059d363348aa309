"""Logits processors in transformers' own generate: random models write nothing but audio in step."""

import pytest
import torch

from toneme.codecs.errors import ShapeError
from toneme.lm.logits import PatternLogits, VocabLogits
from toneme.lm.pattern import Pattern
from toneme.lm.vocab import Vocab

from .test_vocab import Made

transformers = pytest.importorskip("transformers", reason="generation needs transformers: pip install toneme[lm]")


@pytest.fixture
def vocab():
    return Vocab.from_codec(Made((1280, 640, 320), ((6,), (7,), (8,))), base=10)


def test_a_random_model_writes_whole_groups_after_the_start_token(vocab):
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.LlamaConfig(vocab_size=vocab.padded_size, **shape, pad_token_id=vocab.pad_id, eos_token_id=5)
    model = transformers.LlamaForCausalLM(config).eval()
    start, end = (vocab.specials[f"<|audio_{name}|>"] for name in ("start", "end"))
    prompt = torch.tensor([[1, 2, start], [vocab.pad_id, 3, start]])
    written = model.generate(
        prompt, attention_mask=(prompt != vocab.pad_id).long(), do_sample=True, max_new_tokens=7 * 6,
        eos_token_id=end, logits_processor=[VocabLogits(vocab)],
    )  # fmt: skip
    for row in written:
        audio = row[3:]
        stop = audio.tolist().index(end) if end in audio else len(audio)
        assert stop % 7 == 0
        assert [s.shape[-1] for s in vocab.codes(audio[:stop])] == [stop // 7, 2 * stop // 7, 4 * stop // 7]


def test_text_around_audio_holds_no_codes(vocab):
    start, end = (vocab.specials[f"<|audio_{name}|>"] for name in ("start", "end"))
    scores = VocabLogits(vocab)(torch.tensor([[1, 2, 3], [start, end, 4], [start, 10, 16]]), torch.zeros(3, vocab.padded_size))
    assert torch.isinf(scores[:2, 10:31]).all()
    assert not torch.isinf(scores[:2, :10]).any()
    assert (~torch.isinf(scores[2])).nonzero().flatten().tolist() == list(range(23, 31))


def test_sections_follow_their_own_start_tokens():
    vocab = Vocab.preset("spark")
    first, second = (vocab.specials[f"<|start_{name}_token|>"] for name in ("global", "semantic"))
    ids = torch.tensor([[first, 5, 6], [first, 5, second]])
    scores = VocabLogits(vocab)(ids, torch.zeros(2, vocab.padded_size))
    assert (~torch.isinf(scores[0])).sum() == 4097
    assert (~torch.isinf(scores[1, 4096:12288])).all()
    assert torch.isinf(scores[1, :4096]).all()


def test_musicgen_writes_its_delay_pattern():
    torch.manual_seed(0)
    config = transformers.MusicgenDecoderConfig(
        vocab_size=16, num_codebooks=4, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, ffn_dim=16,
        pad_token_id=16, bos_token_id=16, is_encoder_decoder=False,
    )  # fmt: skip
    model = transformers.MusicgenForCausalLM(config).eval()
    pattern = Pattern.delay((12, 12, 12, 12), special=15)
    ids = torch.full((8, 1), 15)
    for _ in range(9):
        scores = PatternLogits(pattern, frames=6)(ids, model(ids).logits[:, -1])
        ids = torch.cat([ids, scores.softmax(-1).multinomial(1)], 1)
    codes = pattern.revert(ids.reshape(2, 4, -1))
    assert codes.shape == (2, 4, 6)
    assert int(codes.max()) < 12


def test_a_vocabulary_without_room_for_the_special_token_is_refused():
    with pytest.raises(ShapeError, match=r"vocabulary of 12 ids lacks the pattern's special tokens \(12, 12\)"):
        PatternLogits(Pattern.delay((12, 12)), frames=2)(torch.zeros(2, 1).long(), torch.zeros(2, 12))
