"""Descript's own file format, `.dac`, read without ever running what its pickle says.

A `.dac` file is `numpy.save` of a pickled dictionary {"codes": uint16 [items x channels, codebooks, frames], "metadata": {...}}
(descript-audio-codec 1.0.0). Rate and length are those of the audio before it was resampled for the model, and of longer audio
the codes are those of chunks that overlap, coded without padding (`dac_unpadded`).

A pickle is a program; here its few harmless instructions are followed by an interpreter that can make dictionaries, lists,
numbers, strings and numpy arrays of numbers, and knows no way to call or import anything.
"""

import pickletools
import re
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .dac import CONFIGS, DacConfig
from .errors import TokenFileError
from .layers.dac_unpadded import unpadded_length
from .tokenfile_bytes import brief
from .tokens import Tokens

if TYPE_CHECKING:
    from .base import Codec

_CODEBOOK_SIZE = 1024
_MOST = 256  # items, or codebooks
_MAX_STEPS = 1000  # instructions; a real file has about a hundred
_ARRAY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMBERS = re.compile(r"[<|=]?(?:[uif][1248]|b1)")
_MARK = object()


def read_dac(data: bytes, codec: "Codec | str | None" = None) -> Tokens:
    """Read the content of a `.dac` file; channels become items of the batch, as DAC codes them.

    `codec.decode` of them gives audio at the level that the program brings all to; `dac_decompress.decompress` gives it as the
    program does, by what is in the metadata: dac_input_db, dac_channels. With dac_padding "false" the frames are of chunks of
    dac_chunk_length frames that overlap, which only the whole of `decode` puts together, and no stream.

    Args:
        data: all bytes of the file.
        codec: the codec that made it, or its name; by default told from length, frames and codebooks, as the file does not say.

    Raises:
        TokenFileError: if it is damaged, hostile or not of tokens.
    """
    at = _pickle_start(data)
    try:
        content = Interpreter(data, at).run()
        if isinstance(content, _Array):
            content = content.only()
        codes, about = content["codes"].numbers(), content["metadata"]
        return _tokens(codes, about, codec)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, struct.error, OverflowError) as error:
        raise TokenFileError(
            f"the pickle that begins at byte {at} of this .dac file does not hold codes as descript-audio-codec writes them "
            f"({brief(error)})"
        ) from None


def _pickle_start(data: bytes) -> int:
    """Return the byte at which the pickle begins, behind numpy's header."""
    if data[:6] != b"\x93NUMPY" or len(data) < 12 or data[6] not in (1, 2):
        raise TokenFileError("this is not a .dac file: it does not begin with a numpy header at byte 0")
    size = 10 if data[6] == 1 else 12
    at = size + int.from_bytes(data[8:size], "little")
    if at > len(data):
        raise TokenFileError(f"this .dac file ends at byte {len(data)}, within its numpy header: it was cut short")
    if b"'|O'" not in data[size:at]:
        raise TokenFileError(
            f"this .npy file holds plain numbers, from byte {at} on, which do not say what codec made them: read them by "
            "numpy.load and pass them to codec.tokens_from_codes, codes[None] for one item"
        )
    return at


def _tokens(codes: np.ndarray, about: dict[str, Any], codec: "Codec | str | None") -> Tokens:
    if codes.ndim != 3 or codes.dtype.kind not in "ui" or not all(1 <= n <= _MOST for n in codes.shape[:2]):
        raise ValueError(f"codes must be integers [items, codebooks, frames], got {codes.dtype} {codes.shape}")
    if codes.size and not 0 <= int(codes.min()) <= int(codes.max()) < _CODEBOOK_SIZE:
        raise ValueError(f"codes must be from 0 to {_CODEBOOK_SIZE - 1}, got up to {codes.max()}")
    metadata, frames = _metadata(about), codes.shape[-1]
    batch = torch.from_numpy(codes.astype(np.int64))
    chunk = int(metadata["dac_chunk_length"]) if metadata["dac_padding"] == "false" else 0
    if chunk and frames % chunk:
        raise ValueError(f"codes in chunks of {chunk} frames must be a multiple of that, got {frames}")
    if codec is not None and not isinstance(codec, str):
        tokens = codec.tokens_from_codes(batch).with_metadata(**metadata)
        n_samples = torch.full((len(codes),), _samples(about, codec.spec.sample_rate))
        lengths = tokens.lengths if chunk else tokens.lengths.clamp(max=codec.n_frames(int(n_samples[0]))[0])
        return replace(tokens, n_samples=n_samples, lengths=lengths)
    made = codec if codec in CONFIGS else _maker_of(about, codes.shape[1], frames, chunk)
    rate, hop = CONFIGS[made].sample_rate, CONFIGS[made].blocks.hop
    items, depth, frames = codes.shape
    return Tokens(
        (batch,), torch.full((items, 1), frames), torch.full((items,), _samples(about, rate)), codec or made, "", rate, 1,
        (rate / hop,), ((_CODEBOOK_SIZE,) * depth,), metadata=metadata,
    )  # fmt: skip


def _samples(about: dict[str, Any], rate: int) -> int:
    """Return the samples that were coded, at the model's rate."""
    samples = _number(about, "original_length") * rate // max(1, _number(about, "sample_rate"))
    if samples >= 1 << 48:
        raise ValueError(f"original_length at the sample rate must be less than {1 << 48} samples of the model, got {samples}")
    return samples


def _maker_of(about: dict[str, Any], depth: int, frames: int, chunk: int) -> str:
    """Return the published model whose frames these are; where several could be it, the one of the audio's own rate is it."""
    names = [name for name, config in CONFIGS.items() if depth <= config.codebooks and _fits(about, config, frames, chunk)]
    if not names:
        raise ValueError(
            f"no published model makes {depth} x {frames} codes of {_number(about, 'original_length')} samples at the sample "
            f"rate {_number(about, 'sample_rate')}: name the codec"
        )
    return min(names, key=lambda name: CONFIGS[name].sample_rate != about["sample_rate"])


def _fits(about: dict[str, Any], config: DacConfig, frames: int, chunk: int) -> bool:
    samples = _samples(about, config.sample_rate)
    if not chunk:
        return frames == -(-samples // config.blocks.hop)
    step = unpadded_length(config.blocks, chunk)
    return step > 0 and frames == -(-samples // step) * chunk


def _number(about: dict[str, Any], key: str) -> int:
    value = about[key]
    if type(value) is not int or not 0 <= value < 1 << 48:
        raise ValueError(f"{key} must be a whole number from 0 up, got another {type(value).__name__}")
    return value


def _metadata(about: dict[str, Any]) -> dict[str, str]:
    levels = about["input_db"]
    levels = levels.numbers().ravel().tolist() if isinstance(levels, _Array) else [float(levels)]
    if len(levels) > _MOST:
        raise ValueError(f"input_db must be one number per item, got {len(levels)}")
    return {
        "dac_input_db": " ".join(map(repr, levels)),
        "dac_chunk_length": str(_number(about, "chunk_length")),
        "dac_channels": str(_number(about, "channels")),
        "dac_padding": "true" if about["padding"] is True else "false",
        "dac_version": _text(about.get("dac_version", ""))[:16],
    }


class _Type:
    """A numpy dtype as the pickle describes it."""

    def __init__(self, name: object) -> None:
        self.name, self.order = _text(name), "="

    def build(self, state: Any) -> None:
        self.order = _text(state[1])

    def numpy(self) -> np.dtype:
        if not _NUMBERS.fullmatch(self.name) or self.order not in "<=|":
            raise ValueError(f"an array is of type {self.order}{self.name[:16]}, which is not one of little-endian numbers")
        return np.dtype(self.name)


class _Array:
    """A numpy array as the pickle describes it."""

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self.type: Any = None
        self.fortran, self.data = False, b""

    def build(self, state: Any) -> None:
        _, self.shape, self.type, self.fortran, self.data = state

    def numbers(self) -> np.ndarray:
        """Return the array, if it is one of numbers and its bytes are there."""
        if not isinstance(self.data, bytes) or len(self.shape) > 8 or any(type(n) is not int or n < 0 for n in self.shape):
            raise ValueError("an array is not one of numbers")
        flat = np.frombuffer(self.data, self.type.numpy())
        return flat.reshape(self.shape, order="F" if self.fortran else "C")

    def only(self) -> Any:
        """Return what an array of one object holds."""
        if not isinstance(self.data, list) or len(self.data) != 1:
            raise ValueError("the outermost array must hold one object")
        return self.data[0]


class Interpreter:
    """Follows the instructions of a pickle that make plain values and arrays of numbers, and refuses all others."""

    def __init__(self, data: bytes, offset: int) -> None:
        self._data, self._offset = memoryview(data)[offset:], offset
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Return the value that the pickle describes.

        Raises:
            TokenFileError: if it wants to import or call something.
            ValueError, IndexError, KeyError, TypeError: if it is not whole.
        """
        for step, (opcode, argument, at) in enumerate(pickletools.genops(bytes(self._data))):
            if step > _MAX_STEPS:
                raise ValueError(f"it takes more than {_MAX_STEPS} instructions")
            if opcode.name == "STOP":
                return self._stack.pop()
            self._step(opcode.name, argument, self._offset + (at or 0))
        raise ValueError("it does not end")

    def _step(self, name: str, argument: Any, at: int) -> None:
        if name in _IGNORED:
            return
        if name in _PUSHES:
            self._stack.append(argument)
        elif name in _MAKES:
            self._stack.append(_MAKES[name]())
        elif name in _TUPLES:
            count = _TUPLES[name]
            self._stack[len(self._stack) - count :] = [tuple(self._pop(count))]
        elif name in _METHODS:
            _METHODS[name](self, argument, at)
        else:
            raise TokenFileError(
                f"this .dac file is hostile or foreign: its pickle holds the instruction {name} at byte {at}, which tokens "
                "never need; nothing of it was run"
            )

    def _pop(self, count: int) -> list[Any]:
        if count > len(self._stack):
            raise ValueError("it takes more values than it made")
        return self._stack[len(self._stack) - count :]

    def _to_mark(self) -> list[Any]:
        at = max(i for i, value in enumerate(self._stack) if value is _MARK)
        values = self._stack[at + 1 :]
        del self._stack[at:]
        return values

    def _memoize(self, argument: Any, at: int) -> None:
        self._memo[len(self._memo) if argument is None else argument] = self._stack[-1]

    def _recall(self, argument: Any, at: int) -> None:
        self._stack.append(self._memo[argument])

    def _tuple(self, argument: Any, at: int) -> None:
        self._stack.append(tuple(self._to_mark()))

    def _append(self, argument: Any, at: int) -> None:
        value = self._stack.pop()
        self._own(list).append(value)

    def _appends(self, argument: Any, at: int) -> None:
        values = self._to_mark()
        self._own(list).extend(values)

    def _set(self, argument: Any, at: int) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._own(dict)[_text(key)] = value

    def _sets(self, argument: Any, at: int) -> None:
        values = self._to_mark()
        self._own(dict).update({_text(key): value for key, value in zip(values[::2], values[1::2], strict=True)})

    def _own(self, kind: type) -> Any:
        if type(self._stack[-1]) is not kind:
            raise ValueError(f"it fills something that is no {kind.__name__}")
        return self._stack[-1]

    def _import(self, argument: Any, at: int) -> None:
        if argument is None:
            attribute, module = self._stack.pop(), self._stack.pop()
        else:
            module, _, attribute = argument.partition(" ")
        module, attribute = _text(module), _text(attribute)
        maker = _maker(module, attribute)
        if maker is None:
            raise TokenFileError(
                f"this .dac file is hostile or foreign: its pickle names {f'{module}.{attribute}'[:99]!r} at byte {at}, "
                "which tokens never need; nothing of it was run"
            )
        self._stack.append(maker)

    def _call(self, argument: Any, at: int) -> None:
        arguments, maker = self._stack.pop(), self._stack.pop()
        if not isinstance(maker, _Maker) or not isinstance(arguments, tuple):
            raise ValueError("it calls something that is no maker of arrays")
        self._stack.append(maker.make(*arguments))

    def _build(self, argument: Any, at: int) -> None:
        state = self._stack.pop()
        if not isinstance(self._stack[-1], _Array | _Type):
            raise ValueError("it gives a state to something that is no array")
        self._stack[-1].build(state)


class _Maker:
    """One of the few things that the pickle of an array calls."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make


def _scalar(kind: Any, data: Any) -> Any:
    array = _Array()
    array.build((1, (), kind, False, data))
    return array.numbers()[()].item()


def _maker(module: str, attribute: str) -> _Maker | None:
    if module in _ARRAY_MODULES and attribute == "_reconstruct":
        return _Maker(lambda *_: _Array())
    if module in _ARRAY_MODULES and attribute == "scalar":
        return _Maker(_scalar)
    if (module, attribute) == ("numpy", "dtype"):
        return _Maker(lambda name, *_: _Type(name))
    if (module, attribute) == ("numpy", "ndarray"):
        return _Maker(lambda *_: _Array())
    if (module, attribute) == ("_codecs", "encode"):
        return _Maker(lambda text, _: text.encode("latin1"))
    return None


def _text(value: Any) -> str:
    """Return the value if it is a string; nothing else is ever turned into one, since nested values can grow without bound."""
    if type(value) is not str:
        raise ValueError(f"a string was expected, got {type(value).__name__}")
    return value


_IGNORED = {"PROTO", "FRAME"}
_PUSHES = {
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES",
}  # fmt: skip
_MAKES: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "EMPTY_DICT": dict, "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple, "MARK": lambda: _MARK,
}  # fmt: skip
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_METHODS: dict[str, Callable[[Interpreter, Any, int], None]] = {
    "BINPUT": Interpreter._memoize, "LONG_BINPUT": Interpreter._memoize, "MEMOIZE": Interpreter._memoize,
    "BINGET": Interpreter._recall, "LONG_BINGET": Interpreter._recall, "TUPLE": Interpreter._tuple,
    "APPEND": Interpreter._append, "APPENDS": Interpreter._appends, "SETITEM": Interpreter._set, "SETITEMS": Interpreter._sets,
    "GLOBAL": Interpreter._import, "STACK_GLOBAL": Interpreter._import, "REDUCE": Interpreter._call,
    "BUILD": Interpreter._build,
}  # fmt: skip
