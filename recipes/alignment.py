"""When words are said: the best path of a known text through what a CTC speech model hears.

Sources: Graves et al., "Connectionist Temporal Classification", 2006; Kürzinger et al., "CTC-Segmentation of Large Corpora for
German End-to-end Speech Recognition", 2020. DM-Codec's published code transcribes with wav2vec 2.0, and takes no times from it.
"""

from itertools import pairwise

import torch
from torch import Tensor

from ..codecs.audio import resample
from ..codecs.errors import CheckpointError, ShapeError
from ..codecs.teachers import load_transformers
from .errors import DataError

SAMPLE_RATE = 16000  # Hz, of all speech models
LONGEST = 300.0  # seconds: the path's memory grows with the square
WINDOW, OVERLAP = 20 * SAMPLE_RATE, 2 * SAMPLE_RATE  # samples heard at once, and of these heard on either side only
Span = tuple[float, float]  # from and to, in seconds


class Aligner:
    """Finds words in speech.

    Args:
        name: a CTC model of transformers by characters, such as facebook/wav2vec2-base-960h, or its folder.
        device: of the model.

    Raises:
        CheckpointError: if it cannot be had.
        MissingDependencyError: if transformers is not installed.
    """

    def __init__(self, name: str, device: str = "cpu") -> None:
        package = load_transformers()
        try:
            self.tokenizer = package.AutoTokenizer.from_pretrained(name)
            self.model = package.AutoModelForCTC.from_pretrained(name).eval().requires_grad_(False).to(device)
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0][:200]
            raise CheckpointError(f"the aligner {name} cannot be had ({reason}): fetch it once, or pass a folder") from None
        self.device, self.blank = device, self.tokenizer.pad_token_id
        self.symbols: dict[str, int] = self.tokenizer.get_vocab()
        self.gap = self.tokenizer.word_delimiter_token
        self.hop: int = self.model.config.inputs_to_logits_ratio

    def words(self, waveform: Tensor, sample_rate: int, text: str = "") -> list[tuple[str, Span]]:
        """Return the words of a text and when each is said.

        Args:
            waveform: [channels, samples].
            sample_rate: Hz.
            text: what is said; where it is empty, what the model hears.

        Raises:
            DataError: if the audio is longer than the path may be, or shorter than the text.
        """
        heard = resample(waveform.mean(0, keepdim=True), sample_rate, SAMPLE_RATE)
        if heard.shape[1] > LONGEST * SAMPLE_RATE:
            raise DataError(
                f"a recording of {heard.shape[1] / SAMPLE_RATE:.0f} s is to be aligned, the most is {LONGEST:.0f} s: cut it, "
                "or say in the manifest's column times when its words are said"
            )
        scores = self.scores(heard)
        words = (text or self.hears(scores)).split()
        spelled = [self._spell(word) for word in words]
        path, owners = [], []
        for number, symbols in enumerate(spelled):
            if path and symbols:
                path, owners = [*path, self.symbols[self.gap]], [*owners, -1]
            path, owners = path + symbols, owners + [number] * len(symbols)
        try:
            frames = ctc_path(scores, path, self.blank)
        except ShapeError:
            raise DataError(f"{len(path)} symbols do not fit into {len(scores)} frames: check the text {text[:60]!r}") from None
        spans: list[Span | None] = [None] * len(words)
        for owner, (first, last) in zip(owners, frames, strict=True):
            if owner >= 0:
                known = spans[owner]
                spans[owner] = (first * self.seconds if known is None else known[0], last * self.seconds)
        return list(zip(words, between(spans, heard.shape[1] / SAMPLE_RATE), strict=True))

    @property
    def seconds(self) -> float:
        """Of a frame."""
        return self.hop / SAMPLE_RATE

    @torch.no_grad()
    def scores(self, heard: Tensor) -> Tensor:
        """Return log probabilities [frames, symbols] of audio [1, samples] at 16 kHz, heard in windows that overlap."""
        heard = (heard - heard.mean()) / heard.std().clamp(min=1e-5)
        pieces = []
        for start in range(0, max(1, heard.shape[1]), WINDOW):
            first = max(0, start - OVERLAP)
            piece = heard[:, first : start + WINDOW + OVERLAP].to(self.device)
            frames = self.model(torch.nn.functional.pad(piece, (40, 40 + 320))).logits[0].float().log_softmax(-1).cpu()
            skipped = (start - first) // self.hop
            pieces.append(frames[skipped : skipped + min(WINDOW, heard.shape[1] - start) // self.hop])
        return torch.cat(pieces)

    def hears(self, scores: Tensor) -> str:
        """Return the likeliest symbol of every frame, read as text."""
        return self.tokenizer.decode(scores.argmax(-1))

    def _spell(self, word: str) -> list[int]:
        upper = "a" not in self.symbols
        return [self.symbols[letter] for letter in (word.upper() if upper else word.lower()) if letter in self.symbols]


def ctc_path(scores: Tensor, symbols: list[int], blank: int) -> list[tuple[int, int]]:
    """Return the frames [first, last) of every symbol on the likeliest path.

    Args:
        scores: log probabilities [frames, symbols of the model].
        symbols: in order.
        blank: the symbol that stands for none.

    Raises:
        ShapeError: if there are fewer frames than the symbols take.
    """
    takes = len(symbols) + sum(a == b for a, b in pairwise(symbols))
    if takes > len(scores):
        raise ShapeError(f"{takes} frames are the least that {len(symbols)} symbols take; got {len(scores)}")
    if not symbols:
        return []
    states = torch.tensor([blank, *(s for symbol in symbols for s in (symbol, blank))])
    emitted, never = scores[:, states], float("-inf")
    skips = torch.zeros(len(states), dtype=torch.bool)
    skips[2:] = (states[2:] != blank) & (states[2:] != states[:-2])
    best = torch.full((len(states),), never)
    best[:2] = emitted[0, :2]
    back = torch.zeros(emitted.shape, dtype=torch.int8)  # how many states a step comes from below
    for frame in range(1, len(scores)):
        from_one = torch.nn.functional.pad(best[:-1], (1, 0), value=never)
        from_two = torch.where(skips, torch.nn.functional.pad(best[:-2], (2, 0), value=never), never)
        best, back[frame] = torch.stack([best, from_one, from_two]).max(0)
        best = best + emitted[frame]
    state = len(states) - 1 if best[-1] >= best[-2] else len(states) - 2
    found = [(0, 0)] * len(symbols)
    for frame in reversed(range(len(scores))):
        if state % 2:
            found[state // 2] = (frame, found[state // 2][1] or frame + 1)
        state -= int(back[frame, state])
    return found


def between(spans: list[Span | None], end: float) -> list[Span]:
    """Return spans where those that are not known, of words without a letter, lie between their neighbours."""
    filled = []
    for number, span in enumerate(spans):
        before = filled[-1][1] if filled else 0.0
        after = next((later[0] for later in spans[number + 1 :] if later is not None), end)
        filled.append(span or (before, max(before, after)))
    return filled
