"""Audio as tokens for language models: vocabularies, patterns, incremental decoding, shards; names load on first use."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .collating import collate
    from .incremental import IncrementalDecoder, PatternDecoder
    from .logits import PatternLogits, VocabLogits
    from .masking import span_mask
    from .pattern import Pattern
    from .shard_repack import repack
    from .shards import read_shards
    from .tokenizing import tokenize
    from .vocab import Vocab

_HOMES = {
    "IncrementalDecoder": ".incremental",
    "Pattern": ".pattern",
    "PatternDecoder": ".incremental",
    "PatternLogits": ".logits",
    "Vocab": ".vocab",
    "VocabLogits": ".logits",
    "collate": ".collating",
    "read_shards": ".shards",
    "repack": ".shard_repack",
    "span_mask": ".masking",
    "tokenize": ".tokenizing",
}

__all__ = [
    "IncrementalDecoder",
    "Pattern",
    "PatternDecoder",
    "PatternLogits",
    "Vocab",
    "VocabLogits",
    "collate",
    "read_shards",
    "repack",
    "span_mask",
    "tokenize",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'toneme.lm' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name], __name__), name)
    globals()[name] = value
    return value
