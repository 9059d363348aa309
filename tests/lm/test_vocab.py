"""Vocabularies: codes, ids and strings of every codec there and back, published formats to the letter, real tokenizers."""

import importlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from toneme.codecs import registry
from toneme.codecs.errors import ShapeError
from toneme.codecs.snac import SnacCodec
from toneme.codecs.spec import CodecSpec, StreamSpec
from toneme.codecs.toneme24k import TonemeCodec, TonemeConfig
from toneme.lm.bank import Bank, interleaved
from toneme.lm.presets import PRESETS
from toneme.lm.vocab import END, PAD, START, Vocab


class Made:
    """What a vocabulary asks of a codec: streams of given hops and sizes; frames of audio by `n_frames`."""

    name = "made"

    def __init__(self, hops=(320,), sizes=((1024,) * 8,), ragged=False):
        streams = tuple(StreamSpec(hop, size) for hop, size in zip(hops, sizes, strict=True))
        self.spec, self.ragged = CodecSpec(16000, 1, streams, causal=False), ragged

    def n_frames(self, n):
        whole = -(-n // max(s.hop for s in self.spec.streams)) * max(s.hop for s in self.spec.streams)
        return tuple(-(-(n if self.ragged else whole) // s.hop) for s in self.spec.streams)


def made_codes(codec, batch, depth, samples=4000):
    """Return random codes of a codec for so many samples, `depth` codebooks deep."""
    streams = []
    for stream, frames in zip(codec.spec.streams, codec.n_frames(samples), strict=True):
        sizes = stream.codebook_sizes[: max(0, depth)]
        depth -= len(sizes)
        codes = [torch.randint(0, size, (batch, frames)) for size in sizes]
        streams.append(torch.stack(codes, 1) if codes else torch.zeros(batch, 0, frames, dtype=torch.int64))
    return tuple(streams)


def same(a, b):
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("family", registry.FAMILIES)
def test_codes_of_every_codec_come_back_from_ids_and_strings(family):
    module, name = registry.FAMILIES[family]
    kind = getattr(importlib.import_module(module, "toneme.codecs"), name)
    with torch.device("meta"):
        codec = kind(kind.Config(), family)
    codes = made_codes(codec, 1, codec.spec.codebooks, 2 * codec.spec.sample_rate)
    vocab = Vocab.from_codec(codec)
    ids = vocab.ids(codes)
    assert same(vocab.codes(ids), codes)
    assert same(vocab.codes(vocab.parse(vocab.text(codes))), codes)
    assert int(ids.max()) < vocab.padded_size
    assert vocab.padded_size % 64 == 0
    assert len(set(vocab.all_strings())) == vocab.size == vocab.end


@given(data=st.data(), batch=st.integers(1, 3))
def test_any_layout_of_streams_comes_back(data, batch):
    hops = data.draw(st.sampled_from([(320,), (640, 320), (640, 640), (1280, 640, 320), (320, 480), (1280, 320)]))
    sizes = tuple(tuple(data.draw(st.lists(st.integers(2, 9000), min_size=1, max_size=3))) for _ in hops)
    codec = Made(hops, sizes, ragged=data.draw(st.booleans()))
    depth = data.draw(st.integers(1, codec.spec.codebooks))
    codes = made_codes(codec, batch, depth, data.draw(st.integers(1, 6000)))
    vocab = Vocab.from_codec(codec, depth, base=data.draw(st.integers(0, 1000)))
    used = [i for i, stream in enumerate(codes) if stream.shape[1]]
    back = vocab.codes(vocab.ids(codes))
    assert same([back[i] for i in used], [codes[i] for i in used])
    assert same([vocab.codes(vocab.parse(vocab.text([s[:1] for s in codes])))[i] for i in used], [codes[i][:1] for i in used])


def test_offsets_follow_the_codebooks_and_special_tokens_the_codes():
    vocab = Vocab.from_codec(Made(sizes=((1024, 512, 16),)), base=32000, extra=["<|speaker|>"])
    assert vocab.offsets == (32000, 33024, 33536)
    assert vocab.specials == {START: 33552, END: 33553, PAD: 33554, "<|speaker|>": 33555}
    assert (vocab.size, vocab.end, vocab.padded_size) == (1556, 33556, 33600)
    codes = torch.tensor([[[1, 2], [3, 4], [5, 6]]])
    assert vocab.ids(codes, markers=False).tolist() == [[32001, 33027, 33541, 32002, 33028, 33542]]
    assert vocab.text(codes[..., :1]) == "<|audio_start|><|audio_0_1|><|audio_1_3|><|audio_2_5|><|audio_end|>"


def test_streams_of_several_rates_are_written_coarse_first_each_over_its_finer_ones():
    assert [(p.stream, p.step) for p in interleaved((1, 2, 4), (1, 1, 1))] == [
        (0, 0), (1, 0), (2, 0), (2, 1), (1, 1), (2, 2), (2, 3),
    ]  # fmt: skip


def test_streams_that_do_not_fill_groups_are_sections():
    vocab = Vocab.from_codec(Made((640, 320), ((4,), (8,)), ragged=True))
    codes = (torch.tensor([[[1, 2]]]), torch.tensor([[[5, 6, 7]]]))
    assert vocab.text(codes).startswith("<|audio_start_0|><|audio_0_1|><|audio_0_2|><|audio_end_0|><|audio_start_1|>")
    assert same(vocab.codes(vocab.ids(codes)), codes)


def test_fewer_codebooks_leave_streams_empty():
    codec = Made((1280, 640, 320), ((16,), (16,), (16,)))
    vocab = Vocab.from_codec(codec, 2)
    codes = made_codes(codec, 2, 2)
    assert [s.shape[1] for s in vocab.codes(vocab.ids(codes))] == [1, 1, 0]
    assert same(vocab.codes(vocab.ids(codes)), codes)


def test_ids_out_of_place_are_refused():
    vocab = Vocab.from_codec(Made(sizes=((16, 16),)))
    for bad, message in [
        ([0, 16, 1], "whole groups of 2 ids; got 3: 1 are too many"),
        ([0, 1], r"id 1 at position 1 of item 0 is not one of 16 to 31"),
        ([-5, 16], "id -5 at position 0"),
        ([0, 99999], "id 99999 at position 1"),
        ([vocab.specials[START], 0, 16, vocab.specials[END], 0], "1 codes stand before the start or after the end"),
        ([1, vocab.specials[START], 0, 16], "1 codes stand before the start or after the end of the audio, the first 1"),
        ([vocab.specials[START], 0, 16, 99999], "must be whole groups|id 99999 at position 2"),
    ]:
        with pytest.raises(ShapeError, match=message):
            vocab.codes(torch.tensor(bad))
    for code, message in ((16, "codes must be from 0 to 15; got 0 to 16"), (-1, "codes must be from 0 to 15; got -1 to 0")):
        with pytest.raises(ShapeError, match=message):
            vocab.ids(torch.tensor([[[0, 0, 0], [0, code, 0]]]))
    for codes in (torch.zeros(1, 1, 4).long(), torch.zeros(1, 3, 4).long(), torch.zeros(2, 4).long()):
        with pytest.raises(ShapeError, match=r"of \[2\] codebooks .* got .*: make it of as many with codebooks="):
            vocab.ids(codes)
    rates = Vocab.from_codec(Made((640, 320), ((16,), (16,))))
    for frames, message in ((3, "stream 1 must be a multiple of 2; got 3"), (6, r"the same time; got \[2, 6\] frames")):
        with pytest.raises(ShapeError, match=message):
            rates.ids([torch.zeros(1, 1, 2).long(), torch.zeros(1, 1, frames).long()])
    with pytest.raises(ShapeError, match="has 2 streams of codes; got 1"):
        rates.ids(torch.zeros(1, 1, 2).long())
    with pytest.raises(ShapeError, match="a text holds one item; got 2"):
        vocab.text(torch.zeros(2, 2, 1).long())
    with pytest.raises(ShapeError, match="id 40 is not in this vocabulary"):
        vocab.strings(torch.tensor([40]))


def test_padding_on_either_side_is_left_out():
    vocab = Vocab.from_codec(Made(sizes=((16, 16),)))
    codes = torch.randint(0, 16, (2, 2, 5))
    for left, right in ((3, 0), (0, 3), (2, 2)):
        assert same(vocab.codes(torch.nn.functional.pad(vocab.ids(codes), (left, right), value=vocab.pad_id)), [codes])


def test_text_around_audio_and_between_stretches_of_it_is_left_out():
    vocab = Vocab.from_codec(Made(sizes=((16, 16),)), base=100)
    codes, (start, end) = torch.randint(0, 16, (2, 2, 6)), (vocab.specials[START], vocab.specials[END])
    ids = vocab.ids(codes, markers=False)
    text = torch.tensor([[5, 7, 900], [6, 99, 0]])
    words = vocab.ids(codes[..., :0]), vocab.ids(codes[..., :2])  # the first of no frames
    around = [words[0], text, words[1], text, vocab.ids(codes[..., 2:5]), vocab.ids(codes[..., 5:]), text]
    assert same(vocab.codes(torch.cat(around, dim=1)), [codes])
    later = torch.tensor([[5, start, *ids[0].tolist(), end, 3, 3], [start, *ids[1].tolist(), end, 2, 7, 7]])
    assert same(vocab.codes(later), [codes])
    with pytest.raises(ShapeError, match="items differ in their number of ids"):
        vocab.codes(torch.tensor([[start, 100, 116, end, 5, 5], [start, 100, 116, 101, 117, end]]))
    assert [own.shape for own in vocab.codes(torch.zeros(0, 4, dtype=torch.int64))] == [(0, 2, 0)]


def test_tokens_of_a_batch_and_of_items():
    small = {"encoder_dim": 16, "encoder_blocks": (1, 1), "decoder_dim": 16, "decoder_blocks": (1, 1), "latent_dim": 8}
    codec = TonemeCodec(TonemeConfig(**small), "small").eval()
    tokens = codec.encode(torch.randn(2, 1, 9600) * 0.1, lengths=[9600, 4800])
    vocab = Vocab.from_codec(codec)
    with pytest.raises(ShapeError, match="not equally long"):
        vocab.ids(tokens)
    for i in range(2):
        back = vocab.tokens(codec, vocab.ids(tokens[i]), n_samples=int(tokens.n_samples[i]))
        assert torch.equal(codec.decode(back), codec.decode(tokens[i]))


@pytest.mark.parametrize(
    ("template", "message"), [("<a{codebook}>", "needs {code}"), ("<{code}>", "and {codebook} for several")]
)
def test_templates_without_fields_are_refused(template, message):
    with pytest.raises(ShapeError, match=message):
        Vocab.from_codec(Made(), template=template)


# -- published formats ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_presets_read_what_they_write(name):
    vocab = Vocab.preset(name)
    codes = [torch.randint(0, 1000, (1, 1, 12 * steps)) for steps in vocab.steps]
    if vocab.merged:
        codes = [codes[0].unique_consecutive(dim=-1)]
    assert same(vocab.codes(vocab.ids(codes)), codes)
    assert same(vocab.codes(vocab.parse(f"<|task_tts|>Say it. {vocab.text(codes)}</s>")), codes)


def test_orpheus_is_as_published():
    """SNAC's codes at ids from 128266 and custom tokens from 10, 4096 for each of seven places in its published order."""
    vocab = Vocab.preset("orpheus")
    codes = [torch.tensor([[[7]]]), torch.tensor([[[11, 12]]]), torch.tensor([[[21, 22, 23, 24]]])]
    written = [7, 11, 21, 22, 12, 23, 24]
    assert vocab.ids(codes).tolist() == [[128257, *(128266 + 4096 * i + c for i, c in enumerate(written)), 128258]]
    assert vocab.text(codes, markers=False) == "".join(f"<custom_token_{10 + 4096 * i + c}>" for i, c in enumerate(written))
    assert vocab.end == 156938  # the highest id that the published decoders take for a code is 156937
    assert SnacCodec.Config().codebook_size == vocab.banks[0].size


def test_xcodec2_is_as_published():
    vocab = Vocab.preset("xcodec2")
    codes = torch.tensor([[[0, 65535]]])
    assert vocab.text(codes) == "<|SPEECH_GENERATION_START|><|s_0|><|s_65535|><|SPEECH_GENERATION_END|>"
    assert vocab.ids(codes).tolist() == [[128260, 128264, 193799, 128261]]


def test_spark_is_as_published():
    vocab = Vocab.preset("spark")
    text = vocab.text([torch.tensor([[[5, 6]]]), torch.tensor([[[8000]]])])
    assert text == (
        "<|start_global_token|><|bicodec_global_5|><|bicodec_global_6|><|end_global_token|>"
        "<|start_semantic_token|><|bicodec_semantic_8000|><|end_semantic_token|>"
    )
    with pytest.raises(ShapeError, match="3 codes stand before the start or after the end of the audio, the first 5"):
        vocab.codes(vocab.parse(text + text))
    unfinished = vocab.codes(vocab.parse(text.removesuffix("<|end_semantic_token|>")))  # as the model leaves it at its limit
    assert [s.tolist() for s in unfinished] == [[[[5, 6]]], [[[8000]]]]


def test_speechgpt_is_as_published_and_writes_repeated_units_once():
    vocab = Vocab.preset("speechgpt")
    assert vocab.text(torch.tensor([[[12, 12, 12, 34, 34, 12]]])) == "<sosp><12><34><12><eosp>"
    assert vocab.all_strings() == [*(f"<{i}>" for i in range(1000)), "<sosp>", "<eosp>"]
    with pytest.raises(ShapeError, match="items differ in length once equal codes are written once"):
        vocab.ids(torch.tensor([[[1, 1]], [[1, 2]]]))


def test_wavtokenizer_is_as_published():
    vocab = Vocab.preset("wavtokenizer")
    codes = torch.tensor([[[257, 740, 740, 0]]])
    assert vocab.text(codes) == "<|code_start|><|257|><|740|><|740|><|0|><|code_end|>"
    assert same(vocab.codes(vocab.ids(codes)), [codes])
    words = "<|audio_start|>\nthe<|t_0.08|><|code_start|><|257|><|740|><|code_end|>\noverall<|t_0.36|><|code_start|><|127|>"
    assert vocab.strings(vocab.parse(words)) == re_found(words)
    assert vocab.codes(vocab.parse(words + "<|code_end|>\n<|audio_end|>"))[0].tolist() == [[[257, 740, 127]]]


def re_found(text):
    """Return the code tokens and their marks in a text of OuteTTS, word by word."""
    return [
        f"<|{part}|>" for part in text.replace("<|", " ").replace("|>", " ").split() if part[0].isdigit() or part[:5] == "code_"
    ]


def test_numbers_beyond_the_codebook_are_no_tokens():
    vocab = Vocab.preset("wavtokenizer")
    assert vocab.parse("<|4095|><|4096|><|99999999999|><|007|>").tolist() == [4095]


def test_unknown_presets_name_the_known_ones():
    with pytest.raises(ShapeError, match="'parler': the known ones are orpheus, spark"):
        Vocab.preset("parler")


def test_banks_may_lie_in_any_order():
    vocab = Vocab.from_codec(Made(sizes=((4, 8),))).moved([100, 10], {START: 1, END: 2, PAD: 0})
    banks, codes = vocab.bank_of(torch.tensor([[9, 10, 17, 18], [99, 100, 103, 104]]))
    assert banks.tolist() == [[-1, 1, 1, -1], [-1, 0, 0, -1]]
    assert codes.tolist() == [[-1, 0, 7, -1], [-1, 0, 3, -1]]
    assert Bank(4, "<", ">", 3).string(2) == "<5>"


# -- real tokenizers and models ---------------------------------------------------------------------------------


@pytest.fixture
def tokenizer():
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    words = {"<unk>": 0, "<s>": 1, "say": 2, "hello": 3}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", bos_token="<s>")


@pytest.fixture
def model():
    transformers = pytest.importorskip("transformers")
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=8, **shape))


def test_apply_to_a_tokenizer_and_a_model(tokenizer, model):
    codec = Made((1280, 640, 320), ((16,), (16,), (16,)))
    vocab = Vocab.from_codec(codec).apply_to(tokenizer, model)
    assert (vocab.base, vocab.offsets) == (4, (4, 20, 36))
    assert len(tokenizer) == vocab.end == 55
    assert model.get_input_embeddings().num_embeddings == vocab.padded_size == 64
    codes = made_codes(codec, 1, 3)
    ids = tokenizer("say hello " + vocab.text(codes), return_tensors="pt").input_ids
    assert ids[0, :2].tolist() == [2, 3]
    assert torch.equal(ids[:, 2:], vocab.ids(codes))
    assert same(vocab.codes(vocab.parse(tokenizer.decode(ids[0]))), codes)
    assert same(vocab.codes(vocab.parse(tokenizer.decode(ids[0], skip_special_tokens=True))), codes)
    assert model(ids).logits.shape == (1, ids.shape[1], 64)


def test_apply_twice_changes_nothing_and_embeddings_never_shrink(tokenizer, model):
    model.resize_token_embeddings(500)
    first = Vocab.preset("speechgpt").apply_to(tokenizer)
    again = Vocab.preset("speechgpt").apply_to(tokenizer, model)
    assert first == again
    assert model.get_input_embeddings().num_embeddings == 1006
    bigger = model.resize_token_embeddings(2000).num_embeddings
    Vocab.preset("speechgpt").apply_to(tokenizer, model)
    assert model.get_input_embeddings().num_embeddings == bigger


def test_a_tokenizer_with_some_codes_in_another_place_is_refused(tokenizer):
    tokenizer.add_tokens(["<5>"])
    with pytest.raises(ShapeError, match=r"has <1> as id 6, and after <0> it should be 6|has <5> as id 4"):
        Vocab.preset("speechgpt").apply_to(tokenizer)
