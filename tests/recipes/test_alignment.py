"""Alignment: the best of all paths on small cases, words where a made speech model hears them, and what cannot be aligned."""

import itertools
import json
import sys
from types import SimpleNamespace

import pytest
import torch

from toneme.codecs.errors import CheckpointError, MissingDependencyError, ShapeError
from toneme.recipes.alignment import OVERLAP, WINDOW, Aligner, between, ctc_path
from toneme.recipes.errors import DataError

from .toys import TEACHER

SYMBOLS = {"<pad>": 0, "|": 1, "A": 2, "B": 3, "C": 4}


def collapsed(path: tuple[int, ...]) -> list[int]:
    return [symbol for n, symbol in enumerate(path) if symbol and (n == 0 or path[n - 1] != symbol)]


@pytest.mark.parametrize("symbols", [[1], [1, 2], [1, 1], [2, 1, 1]])
def test_the_path_is_the_best_of_all(symbols):
    scores = torch.randn(5, 3, generator=torch.Generator().manual_seed(len(symbols))).log_softmax(-1)
    paths = [path for path in itertools.product(range(3), repeat=5) if collapsed(path) == symbols]
    best = max(paths, key=lambda path: sum(scores[frame, symbol].item() for frame, symbol in enumerate(path)))
    found = [0] * 5
    for (first, last), symbol in zip(ctc_path(scores, symbols, 0), symbols, strict=True):
        found[first:last] = [symbol] * (last - first)
    assert tuple(found) == best


def test_symbols_that_do_not_fit_are_refused():
    assert ctc_path(torch.zeros(3, 2), [], 0) == []
    with pytest.raises(ShapeError, match="3 frames are the least that 2 symbols take; got 2"):
        ctc_path(torch.zeros(2, 2), [1, 1], 0)


def aligner() -> Aligner:
    """An aligner whose model hears a symbol in the level of each frame of 320 samples."""
    made = Aligner.__new__(Aligner)
    made.device, made.blank, made.symbols, made.gap, made.hop = "cpu", 0, SYMBOLS, "|", 320
    names = {number: name for name, number in SYMBOLS.items()}
    made.tokenizer = SimpleNamespace(
        decode=lambda path: "".join(names[symbol] for symbol in collapsed(tuple(path.tolist()))).replace("|", " ")
    )
    made.model = lambda piece: SimpleNamespace(logits=levels(piece[:, 40:]))
    return made


def levels(heard: torch.Tensor) -> torch.Tensor:
    """Return scores [1, frames, symbols]: how near the middle of each frame is to each symbol's level."""
    middles = heard.unfold(-1, 320, 320)[..., 160, None]
    return -200 * (middles - torch.arange(5) / 10).abs()


def speech(frames: list[int]) -> torch.Tensor:
    return torch.tensor(frames, dtype=torch.float).repeat_interleave(320)[None] / 10


def test_words_are_found_where_they_are_heard():
    made, waveform = aligner(), speech([0, 2, 2, 3, 0, 1, 0, 4, 4, 4, 0])
    made.scores = lambda heard: levels(heard)[0].log_softmax(-1)
    for text in ("ab c", ""):
        found = made.words(waveform, 16000, text)
        assert [word.lower() for word, _ in found] == ["ab", "c"]
        assert [span for _, span in found] == [pytest.approx((0.02, 0.08)), pytest.approx((0.14, 0.20))]
    with pytest.raises(DataError, match="13 symbols do not fit into 11 frames: check the text 'abcabcabcabca'"):
        made.words(waveform, 16000, "abcabcabcabca")


def test_a_model_of_transformers_is_read_and_heard(tmp_path):
    transformers = pytest.importorskip("transformers", reason="aligners are models of transformers")
    (tmp_path / "vocab.json").write_text(json.dumps(SYMBOLS))
    settings = {"unk_token": "<pad>", "bos_token": "<pad>", "eos_token": "<pad>", "pad_token": "<pad>"}
    transformers.Wav2Vec2CTCTokenizer(str(tmp_path / "vocab.json"), **settings).save_pretrained(tmp_path)
    config = transformers.Wav2Vec2Config(**TEACHER, vocab_size=5, pad_token_id=0)
    transformers.Wav2Vec2ForCTC(config).save_pretrained(tmp_path)
    found = Aligner(str(tmp_path)).words(torch.randn(2, 24000), 24000, "ab 1 c")
    assert [word for word, _ in found] == ["ab", "1", "c"]
    times = [time for _, span in found for time in span]
    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] <= 1
    with pytest.raises(CheckpointError, match=r"the aligner .*nowhere cannot be had"):
        Aligner(str(tmp_path / "nowhere"))


def test_without_transformers_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingDependencyError, match=r"transformers .*: pip install \"\.\[train\]\""):
        Aligner("facebook/wav2vec2-base-960h")


def test_windows_join_without_a_seam():
    long, made = torch.rand(1, 2 * WINDOW + OVERLAP + 333), aligner()
    heard = (long - long.mean()) / long.std()
    whole = made.model(torch.nn.functional.pad(heard, (40, 360))).logits[0].log_softmax(-1)
    assert torch.equal(made.scores(long), whole[: long.shape[1] // 320])


def test_words_without_a_letter_lie_between_their_neighbours():
    assert between([None, (1.0, 2.0), None, None, (3.0, 4.0), None], 5.0) == [
        (0.0, 1.0), (1.0, 2.0), (2.0, 3.0), (3.0, 3.0), (3.0, 4.0), (4.0, 5.0)
    ]  # fmt: skip
