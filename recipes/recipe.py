"""Recipes: YAML with differences only, settings from the command line, and one sentence about whatever is not understood.

A recipe names its `base`, another recipe whose tables it changes: tables are merged, all else is replaced, and `null` removes
an entry of a free table (a loss, a discriminator, an augmentation).
"""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from .errors import RecipeError
from .tables import find_recipe, is_number, merge, read_table, setting_table, to_text

Entries = dict[str, dict[str, Any]]  # name -> settings of one loss, discriminator or the like


@dataclass(frozen=True)
class CodecSettings:
    """Which codec is trained.

    Attributes:
        family: as in a saved codec's `config.json`.
        preset: name of an official configuration of the family, "" for the family's default.
        config: settings that differ from that.
        name: of the codec that is saved, the recipe's by default, and with `init` that of the codec it starts from.
        teacher: pretrained weights for the frozen model inside a codec that has one, as `load_teacher` takes it; "" for random.
        weight_norm: train convolutions as direction and gain (Salimans and Kingma, 2016); folded in the saved codec.
    """

    family: str = ""
    preset: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    teacher: str = ""
    weight_norm: bool = False


@dataclass(frozen=True)
class OptimizerSettings:
    """AdamW, its rate over time, and what keeps steps small. `floor` is the last rate's share of the highest."""

    learning_rate: float = 3e-4
    betas: tuple[float, float] = (0.8, 0.99)
    weight_decay: float = 0.01
    schedule: str = "cosine"
    warmup: int = 0
    floor: float = 0.02
    clip: float = 1.0


@dataclass(frozen=True)
class QuantizerSettings:
    """How codes come into training.

    Attributes:
        from_step: steps before it run on plain latents.
        kmeans: start moving codebooks by k-means on latents at that step.
        full_depth: share of items that use all codebooks; the others use 1 to all, evenly.
        share: share of items that are quantized at all; the others pass the decoder their plain latents (Mimi).
        commitment, codebook, entropy: weights of those losses.
        options: attributes of the quantizers for training, such as `decay` or `revive_below`.
    """

    from_step: int = 0
    kmeans: bool = True
    full_depth: float = 1.0
    share: float = 1.0
    commitment: float = 1.0
    codebook: float = 1.0
    entropy: float = 0.0
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AdversarialSettings:
    """Discriminators, and what they are worth.

    Attributes:
        discriminators: name -> settings; none switches adversarial training off. One may have a `kind` of its own, and a
            `weight` (1) that all its losses are multiplied by; it is then reduced by itself.
        kind, reduce, features: see `generator_loss` and `feature_matching` of the losses.
        weight, feature_weight: of the generator's score and of feature matching.
        from_step: the first step with them.
        share: share of steps in which the discriminators learn.
        learning_rate: of theirs, the codec's own by default.
        clip: norm that their gradient is held to, the codec's own by default; 0 leaves it.
    """

    discriminators: Entries = field(default_factory=dict)
    kind: str = "hinge"
    reduce: str = "mean"
    features: str = "relative"
    weight: float = 1.0
    feature_weight: float = 1.0
    from_step: int = 0
    share: float = 1.0
    learning_rate: float | None = None
    clip: float | None = None


@dataclass(frozen=True)
class DataSettings:
    """Where training audio is and what is done to it.

    Attributes:
        train: a folder, a manifest (.csv, .jsonl), tar shards, a list of these, or a table of domain -> any of these; for a
            language model, the folder of shards that `codec tokenize` wrote.
        split: rows of a manifest with a column `split` that are used.
        weights: domain -> share of items, of other domains none; none goes by duration alone.
        bank: decode all of it once to one int16 array, which makes small data fast.
        cache: folder for that array and for teachers' features, "" for none.
        workers: processes that decode; 0 decodes between steps.
        timeout: seconds without a batch after which the workers are started anew.
        floor_db: crops quieter than this are drawn again, `tries` times.
        loudness: range of loudness in LUFS to bring items to, none to leave them.
        flip: turn the sign of every second item.
        augment: name -> settings, as in `augment`.
    """

    train: Any = ""
    split: str = "train"
    weights: dict[str, float] = field(default_factory=dict)
    bank: bool = False
    cache: str = ""
    workers: int = 2
    timeout: float = 120.0
    floor_db: float = -50.0
    tries: int = 4
    loudness: tuple[float, float] | None = None
    flip: bool = True
    augment: Entries = field(default_factory=dict)


@dataclass(frozen=True)
class SavingSettings:
    """What is written, and every how many steps.

    Attributes:
        every: steps from one state to the next.
        keep: newest exact states that are kept.
        compact: write a small state too, which resumes nearly the same run.
        log: steps that one line of figures covers.
        audio: steps from one set of examples to the next in TensorBoard, 0 for none.
    """

    every: int = 1000
    keep: int = 2
    compact: bool = True
    log: int = 50
    audio: int = 1000


@dataclass(frozen=True)
class WatchSettings:
    """When a run is stopped: any codebook with less than `least_usage` of its codes in use over `window` steps."""

    least_usage: float = 0.02
    window: int = 500
    from_step: int = 500


@dataclass(frozen=True)
class LanguageSettings:
    """A language model of tokens, which is trained in place of a codec on the shards that `data.train` names.

    Attributes:
        kind: "delay", "depth" or "masked", see `LanguageConfig` of `toneme.lm.models`; "" trains a codec.
        codec: that the shards must be of, by name; "" takes what they say.
        codebooks: of the tokens, to write; 0 for all.
        told: what the model is told: "" for nothing, "label" or "text".
        labels: where that stands: a manifest with such a column, or "folder" for the name of the folder of each recording.
        drop: share of items that are told nothing, so that the model can write without, and be guided.
        width, layers, heads, depth_width, depth_layers, dropout, span: see `LanguageConfig`.
    """

    kind: str = ""
    codec: str = ""
    codebooks: int = 0
    told: str = ""
    labels: str = ""
    drop: float = 0.1
    width: int = 256
    layers: int = 6
    heads: int = 4
    depth_width: int = 128
    depth_layers: int = 2
    dropout: float = 0.0
    span: int = 3


@dataclass(frozen=True)
class HearingSettings:
    """A speech model that is trained in place of a codec, by the transcripts in the manifest, to be a teacher.

    Attributes:
        kind: "ctc"; "" trains a codec.
        settings: of transformers' Wav2Vec2BertConfig, where they are not its defaults.
        apart: share of recordings that it does not learn from; a run says how many of their letters it gets wrong.
    """

    kind: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    apart: float = 0.02


@dataclass(frozen=True)
class DiffusionSettings:
    """The stages in which a semanticodec is trained.

    Attributes:
        stage: "tokenizer" or "decoder"; "" trains any other codec.
        parts: AudioMAE, the VAE and the vocoder, which no stage trains: a folder of the published `encoder.ckpt` and
            `decoder.ckpt`, "published" to fetch them, "" for random ones or those of `init`, which has no VAE's encoder.
        fit: steps of the tokenizer's stage in which k-means fits the semantic codes, before the acoustic ones learn.
        tokenizer: the acoustic codes go on learning with the decoder, as published.
        loss: "v" or "noise".
        drop: share of items whose codes the decoder is not told, so that it can be guided.
    """

    stage: str = ""
    parts: str = ""
    fit: int = 1000
    tokenizer: bool = True
    loss: str = "v"
    drop: float = 0.1


@dataclass(frozen=True)
class Recipe:
    """Everything that says how a codec, or a language model of one's tokens, is trained.

    Attributes:
        about: one line for a reader.
        codec, optimizer, quantizer, adversarial, data, saving, watch: tables.
        init: weights to start from: a codec's name or folder, an official name, or "NAME:CHECKPOINT".
        learns: parts of the codec that learn, as [decoder]; the others stay as `init` has them, bit for bit. All by default.
        steps, batch, accumulate: batches of `batch` items are added up to one step, on every machine of a job.
        seconds: of an item.
        losses: name -> settings of reconstruction losses, `weight` and `domains` (as [speech]; all by default) among them.
        balancer: settings of the balancer of gradients, none to weigh losses as they are.
        distil: name -> settings of teachers.
        language: table of the language model that is trained instead.
        hearing: table of the speech model that is trained instead.
        diffusion: table of the stages of a semanticodec.
        precision: "fp32" or "bf16".
        compile: let torch compile encoder and decoder.
        ema: decay of the average of the weights that is saved.
        seed: of everything that is drawn.
    """

    about: str = ""
    codec: CodecSettings = field(default_factory=CodecSettings)
    init: str = ""
    learns: list[str] = field(default_factory=list)
    steps: int = 100_000
    batch: int = 16
    accumulate: int = 1
    seconds: float = 1.0
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    quantizer: QuantizerSettings = field(default_factory=QuantizerSettings)
    losses: Entries = field(default_factory=dict)
    balancer: dict[str, Any] | None = None
    adversarial: AdversarialSettings = field(default_factory=AdversarialSettings)
    distil: Entries = field(default_factory=dict)
    language: LanguageSettings = field(default_factory=LanguageSettings)
    hearing: HearingSettings = field(default_factory=HearingSettings)
    diffusion: DiffusionSettings = field(default_factory=DiffusionSettings)
    data: DataSettings = field(default_factory=DataSettings)
    saving: SavingSettings = field(default_factory=SavingSettings)
    watch: WatchSettings = field(default_factory=WatchSettings)
    precision: str = "fp32"
    compile: bool = False
    ema: float = 0.999
    seed: int = 0


def read_recipe(name: str | Path, settings: Sequence[str] = ()) -> Recipe:
    """Return a recipe with settings applied.

    Args:
        name: a path, or the bare name of a shipped recipe.
        settings: `key=value`, dots reaching into tables, values read as YAML.

    Raises:
        RecipeError: if there is no such recipe, or a key or value is not understood.
    """
    table = read_table(find_recipe(name))
    for setting in settings:
        table = merge(table, setting_table(setting))
    return check(from_table(Recipe, table))


def from_table(kind: type, table: Mapping[str, Any], at: str = "") -> Any:
    """Build one of the dataclasses above of a table.

    Raises:
        RecipeError: if a key is unknown or a value of another type.
    """
    hints = get_type_hints(kind)
    values = {}
    for key, value in table.items():
        place = f"{at}{key}"
        if key not in hints:
            raise RecipeError(_unknown(place, key, list(hints)))
        values[key] = _value(hints[key], value, place)
    return kind(**values)


def _value(hint: Any, value: Any, place: str) -> Any:
    if isinstance(hint, UnionType):
        (inner,) = (part for part in get_args(hint) if part is not NoneType)
        return None if value is None else _value(inner, value, place)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_table(hint, _expect(value or {}, Mapping, place, "a table"), f"{place}.")
    if hint == Entries:
        entries = _expect(value or {}, Mapping, place, "a table")
        return {
            name: dict(_expect(entry, Mapping, f"{place}.{name}", "a table"))
            for name, entry in entries.items()
            if entry is not None
        }
    if hint is bool:
        return _expect(value, bool, place, "true or false")
    if hint is int:
        return int(_expect(value, int | float, place, "a whole number"))
    if hint is float:
        return float(_number(value, place))
    if hint is str:
        return "" if value is None else str(_expect(value, str | int | float, place, "text"))
    if get_origin(hint) is tuple:
        return _pair(value, place)
    if get_origin(hint) is list:
        return [str(_expect(part, str, place, "a list of names")) for part in _expect(value, list, place, "a list of names")]
    if get_origin(hint) is dict:
        return _table(hint, value, place)
    return value


def _pair(value: Any, place: str) -> tuple[float, ...]:
    found = _expect(value, list | tuple, place, "two numbers, as [0.8, 0.99]")
    if len(found) != 2:
        raise RecipeError(f"{place} must be two numbers, as [0.8, 0.99]; got {value!r}")
    return tuple(float(_number(part, place)) for part in found)


def _table(hint: Any, value: Any, place: str) -> dict[str, Any]:
    """A free table; `null` removes an entry of one of numbers."""
    found = dict(_expect({} if value is None else value, Mapping, place, "a table"))
    if get_args(hint)[1] is not float:
        return found
    return {name: float(_number(part, f"{place}.{name}")) for name, part in found.items() if part is not None}


def _number(value: Any, place: str) -> float:
    return float(value) if isinstance(value, str) and is_number(value) else _expect(value, int | float, place, "a number")


def _expect(value: Any, kind: Any, place: str, what: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise RecipeError(f"{place} must be {what}; got {value!r}")
    return value


def _unknown(place: str, key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"it is one of {', '.join(known)}"
    return f"{place} is no key of a recipe: {hint}"


def check(recipe: Recipe) -> Recipe:
    """Return the recipe if its values make sense.

    Raises:
        RecipeError: if one does not.
    """
    for name in ("steps", "batch", "accumulate", "seconds"):
        if getattr(recipe, name) <= 0:
            raise RecipeError(f"{name} must be above 0; got {getattr(recipe, name)}")
    if recipe.learns and not recipe.init:
        raise RecipeError("learns needs init: parts that do not learn would stay random")
    if recipe.hearing.kind not in ("", "ctc"):
        raise RecipeError(f"hearing.kind must be ctc; got {recipe.hearing.kind!r}")
    if not 0 <= recipe.hearing.apart < 1:
        raise RecipeError(f"hearing.apart must be from 0 to below 1; got {recipe.hearing.apart}")
    if recipe.learns and (recipe.language.kind or recipe.hearing.kind or recipe.diffusion.stage):
        raise RecipeError("learns is for codecs that learn from waveforms: leave it out here")
    if recipe.precision not in ("fp32", "bf16"):
        raise RecipeError(f"precision must be fp32 or bf16; got {recipe.precision!r}")
    if recipe.saving.every < 1 or recipe.saving.log < 1 or recipe.saving.keep < 1:
        raise RecipeError("saving.every, saving.log and saving.keep must be at least 1")
    return recipe


def to_table(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as plain tables, as they are written beside a run."""
    return _plain(dataclasses.asdict(recipe))


def to_yaml(recipe: Recipe) -> str:
    """Return a recipe as YAML, which `read_recipe` takes."""
    return to_text(to_table(recipe))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
