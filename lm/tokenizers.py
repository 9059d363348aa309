"""Codes as tokens of a Hugging Face tokenizer, and rows of a model's embeddings for them."""

from typing import TYPE_CHECKING, Any

from ..codecs.errors import MissingDependencyError, ShapeError, how_to_install

if TYPE_CHECKING:
    from .vocab import Vocab


def apply(vocab: "Vocab", tokenizer: Any, model: Any = None) -> "Vocab":
    """Add a vocabulary's tokens to a tokenizer, resize a model's embeddings, and return the vocabulary with its ids there.

    Raises:
        MissingDependencyError: without transformers.
        ShapeError: if the tokenizer gives a codebook's tokens ids that do not follow one another.
    """
    try:
        from transformers import AddedToken
    except ImportError:
        raise MissingDependencyError(f"adding tokens needs transformers: {how_to_install('lm')}") from None
    known = tokenizer.get_vocab()
    missing = [name for name in vocab.all_strings() if name not in known]
    # only the markers are special: decode(skip_special_tokens=True) must keep the codes
    tokenizer.add_tokens([AddedToken(name, special=name in vocab.specials, normalized=False) for name in missing])
    known = tokenizer.get_vocab()
    moved = vocab.moved([_offset(bank, known) for bank in vocab.banks], {name: known[name] for name in vocab.specials})
    if model is not None:
        rows = max(moved.end, len(tokenizer), model.get_input_embeddings().num_embeddings)
        model.resize_token_embeddings(rows, pad_to_multiple_of=vocab.multiple)
    return moved


def _offset(bank: Any, known: dict[str, int]) -> int:
    first = known[bank.string(0)]
    for code in range(bank.size):
        if (found := known[bank.string(code)]) != first + code:
            raise ShapeError(
                f"the tokenizer has {bank.string(code)} as id {found}, and after {bank.string(0)} it should be {first + code}: "
                "use a tokenizer without these tokens, or with all of them in order"
            )
    return first
