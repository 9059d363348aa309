"""The vocabularies that published families of models use.

WavTokenizer (OuteTTS 0.1 and 0.2): `<|code_start|><|257|><|740|>...<|code_end|>`, one code a token, a stretch for each word.
Orpheus, on SNAC at 24 kHz: `<custom_token_N>`, seven tokens a frame in the order of `bank.interleaved`, each place with 4096
    tokens of its own; code c at place p is custom token 10 + 4096 p + c and id 128266 + 4096 p + c. Speech stands between
    `<custom_token_1>` (id 128257) and `<custom_token_2>` (id 128258); 3 to 6 begin and end the turns of human and model.
Spark-TTS, on BiCodec: `<|start_global_token|>`, 32 of `<|bicodec_global_N|>`, `<|end_global_token|>`,
    `<|start_semantic_token|>`, `<|bicodec_semantic_N|>`..., `<|end_semantic_token|>`.
SpeechGPT, on units of HuBERT: `<sosp><12><34>...<eosp>`, units that repeat written once.
X-Codec 2 (Llasa): `<|SPEECH_GENERATION_START|><|s_123|>...<|SPEECH_GENERATION_END|>`, code c is id 128264 + c.

Ids are the published ones of Orpheus and Llasa; those of the others begin at 0 and depend on the tokenizer: use `apply_to`.
"""

from collections.abc import Callable

from .bank import Bank, Place, Section, interleaved
from .vocab import Vocab

ONE = (Place(0, 0, 0, 0),)


def wavtokenizer() -> Vocab:
    """Return the vocabulary of OuteTTS 0.1 and 0.2, on WavTokenizer's 4096 codes."""
    return _single(4096, "<|", "|>", "<|code_start|>", "<|code_end|>")


def xcodec2() -> Vocab:
    """Return the vocabulary of Llasa, on X-Codec 2's 65,536 codes, with its ids."""
    plain = _single(65536, "<|s_", "|>", "<|SPEECH_GENERATION_START|>", "<|SPEECH_GENERATION_END|>")
    return plain.moved([128264], {"<|SPEECH_GENERATION_START|>": 128260, "<|SPEECH_GENERATION_END|>": 128261})


def speechgpt() -> Vocab:
    """Return the vocabulary of SpeechGPT, on 1000 units; durations are not written."""
    return _single(1000, "<", ">", "<sosp>", "<eosp>", merged=True)


def orpheus() -> Vocab:
    """Return the vocabulary of Orpheus, on the three streams of SNAC at 24 kHz, with its ids."""
    order = interleaved((1, 2, 4), (1, 1, 1))
    places = tuple(Place(p.stream, p.codebook, p.step, i) for i, p in enumerate(order))
    banks = tuple(Bank(4096, "<custom_token_", ">", 10 + 4096 * i, 128266 + 4096 * i) for i in range(len(places)))
    specials = {f"<custom_token_{i}>": 128256 + i for i in range(1, 8)}
    start, end, *_, pad = specials
    return Vocab(banks, (Section(places, start, end),), (1, 2, 4), specials, 128257, 1, pad)


def spark() -> Vocab:
    """Return the vocabulary of Spark-TTS: 32 global codes of 4096, then semantic codes of 8192, as two streams."""
    banks = (Bank(4096, "<|bicodec_global_", "|>"), Bank(8192, "<|bicodec_semantic_", "|>", offset=4096))
    sections = (
        Section(ONE, "<|start_global_token|>", "<|end_global_token|>"),
        Section((Place(1, 0, 0, 1),), "<|start_semantic_token|>", "<|end_semantic_token|>"),
    )
    names = [name for section in sections for name in (section.start, section.end)]
    return Vocab(banks, sections, (1, 1), {name: 12288 + i for i, name in enumerate(names)})


def _single(size: int, prefix: str, suffix: str, start: str, end: str, merged: bool = False) -> Vocab:
    specials = {start: size, end: size + 1}
    return Vocab((Bank(size, prefix, suffix),), (Section(ONE, start, end),), (1,), specials, merged=merged)


PRESETS: dict[str, Callable[[], Vocab]] = {
    "orpheus": orpheus,
    "spark": spark,
    "speechgpt": speechgpt,
    "wavtokenizer": wavtokenizer,
    "xcodec2": xcodec2,
}
