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
    again = VocabLogits(vocab)(torch.tensor([[start, 10, end, 4, start, 11]]), torch.zeros(1, vocab.padded_size))
    assert (~torch.isinf(again[0])).nonzero().flatten().tolist() == list(range(16, 23))


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


def test_musicgens_own_generate_keeps_to_the_codes_that_there_are():
    """It puts the special token, of which it has no logits, in place by itself."""
    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "ffn_dim": 16}
    text = transformers.T5Config(vocab_size=20, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    audio = transformers.EncodecConfig(
        num_filters=2, hidden_size=8, codebook_size=16, codebook_dim=8, upsampling_ratios=[2, 2], target_bandwidths=[32.0],
        sampling_rate=8000,
    )  # fmt: skip
    decoder = transformers.MusicgenDecoderConfig(vocab_size=16, num_codebooks=4, pad_token_id=16, bos_token_id=16, **small)
    config = transformers.MusicgenConfig(text_encoder=text.to_dict(), audio_encoder=audio.to_dict(), decoder=decoder.to_dict())
    model = transformers.MusicgenForConditionalGeneration(config).eval()
    settings, heard, decode = model.generation_config, [], model.audio_encoder.decode
    settings.pad_token_id = settings.bos_token_id = settings.decoder_start_token_id = 16
    settings.guidance_scale = 1
    model.audio_encoder.decode = lambda audio_codes, *rest, **options: (
        heard.append(audio_codes) or decode(audio_codes, *rest, **options)
    )
    limit = PatternLogits(Pattern.delay((5,) * 4, special=16), fixed=False)
    model.generate(input_ids=torch.tensor([[1, 2], [3, 4]]), do_sample=True, max_length=12, logits_processor=[limit])
    assert heard[0].shape == (1, 2, 4, 8)
    assert int(heard[0].max()) < 5


def test_a_vocabulary_without_room_for_the_special_token_is_refused():
    with pytest.raises(ShapeError, match=r"vocabulary of 12 ids lacks the pattern's special tokens \(12, 12\)"):
        PatternLogits(Pattern.delay((12, 12)), frames=2)(torch.zeros(2, 1).long(), torch.zeros(2, 12))
