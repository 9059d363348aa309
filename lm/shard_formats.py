"""The three formats of shards: parquet for Hugging Face datasets, tar for WebDataset, and npz.

Parquet has a row per recording: path, sha256, codec, weights_hash, sample_rate, frame_rate (of the fastest stream, Hz),
n_samples, seconds, and `codes`, a list of codebooks of codes; several streams are `codes_0`, `codes_1` and so on, side numbers
`side_NAME`. A tar has per recording a `.json` with these and a `.codes.npy` (`.codes_0.npy`...), after a member `__toneme__`
that readers of such tars pass over. An npz has the recordings' codes one after the other in `codes` [codebooks, frames],
`codes_ends` of each, their `n_samples`, and `recordings`, path and sha256 of each as JSON. Equal items give equal bytes.
"""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..codecs.errors import MissingDependencyError, TokenFileError, how_to_install
from .shard_item import About, Item

T = TypeVar("T")
Read = tuple[About, list[Item]]
MOST_CODES = 1 << 30  # of a group of rows: parquet's lists count in 31 bits what is in them
ABOUT = "__toneme__"  # webdataset passes over names of this form, datasets over names without a suffix


def write_shard(path: Path, about: About, items: Sequence[Item], number: int = 0) -> None:
    """Write one shard in the format of the path's suffix; `number` goes into the keys of a tar."""
    writer, _ = FORMATS[path.suffix]
    writer(path, about, items, number)


def read_shard(path: Path) -> Read:
    """Return what a shard says of its tokens, and its items.

    Raises:
        TokenFileError: if it is damaged or no shard.
    """
    return _attempt(path, FORMATS[_suffix(path)][1])


def read_lengths(path: Path) -> list[int]:
    """Return the frames of each item's first stream, without its codes where the format has them apart.

    Raises:
        TokenFileError: if it is damaged or no shard.
    """
    return _attempt(path, LENGTHS[_suffix(path)])


def _suffix(path: Path) -> str:
    if path.suffix not in FORMATS:
        raise TokenFileError(f"{path} is no shard of tokens: shards end in {', '.join(FORMATS)}")
    return path.suffix


def _attempt(path: Path, work: Callable[[Path], T]) -> T:
    try:
        return work(path)
    except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise TokenFileError(f"{path} is damaged or no shard of tokens ({error}): run `codec tokenize` on it again") from None


def stream_names(about: About) -> list[str]:
    """Return what the codes of each stream are called."""
    count = len(about.codebook_sizes)
    return ["codes"] if count == 1 else [f"codes_{i}" for i in range(count)]


def facts(about: About, item: Item) -> dict[str, Any]:
    """Return what is written beside the codes of each recording."""
    return {
        "path": item.path, "sha256": item.sha256, "codec": about.codec, "weights_hash": about.weights_hash,
        "sample_rate": about.sample_rate, "frame_rate": max(about.frame_rates), "n_samples": item.n_samples,
        "seconds": item.n_samples / about.sample_rate,
    }  # fmt: skip


def _parquet() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingDependencyError(f"parquet shards need pyarrow: {how_to_install('lm')}, or use npz") from None
    return pyarrow, pyarrow.parquet


def _write_parquet(path: Path, about: About, items: Sequence[Item], number: int) -> None:
    pa, parquet = _parquet()
    with parquet.ParquetWriter(path, _table(pa, about, ()).schema, compression="zstd") as writer:
        for group in _groups(items):  # none where there are no items: datasets refuses groups of no rows
            writer.write_table(_table(pa, about, group))


def _groups(items: Sequence[Item]) -> list[list[Item]]:
    """Return the items in groups of no more than `MOST_CODES`, one at least in each."""
    groups, room = list[list[Item]](), 0
    for item in items:
        codes = max(stream.size for stream in item.streams)
        if not groups or codes > room:
            groups.append([])
            room = MOST_CODES
        groups[-1].append(item)
        room -= codes
    return groups


def _table(pa: Any, about: About, items: Sequence[Item]) -> Any:
    text, whole = pa.string(), pa.int64()
    columns = {
        "path": text, "sha256": text, "codec": text, "weights_hash": text, "sample_rate": whole, "frame_rate": pa.float64(),
        "n_samples": whole, "seconds": pa.float64(),
    }  # fmt: skip
    rows = [facts(about, item) for item in items]
    arrays = {name: pa.array([row[name] for row in rows], kind) for name, kind in columns.items()}
    for i, name in enumerate(stream_names(about)):
        arrays[name] = _nested(pa, [item.streams[i] for item in items], about.dtype)
    for name in about.side:
        arrays[f"side_{name}"] = pa.array([item.side[name] for item in items], pa.list_(pa.float32()))
    return pa.table(arrays).replace_schema_metadata({"toneme": about.to_json()})


def _read_parquet(path: Path) -> Read:
    pa, parquet = _parquet()
    try:
        table = parquet.read_table(path)
    except pa.ArrowException as error:
        raise TokenFileError(f"{path} is damaged or no parquet file ({error}): run `codec tokenize` on it again") from None
    about = About.from_json((table.schema.metadata or {}).get(b"toneme", b""), str(path))
    told = zip(*(table.column(name).to_pylist() for name in ("path", "sha256", "n_samples")), strict=True)
    books = [list(_rows(table.column(name))) for name in stream_names(about)]
    side = {name: list(_rows(table.column(f"side_{name}"))) for name in about.side}
    items = []
    for row, (path_, sha, n) in enumerate(told):
        streams: list[np.ndarray] = []
        for i, own in enumerate(books):
            streams.append(_stacked(own[row], about, i, streams[0].shape[1] if streams else 0))
        items.append(Item(path_, sha, n, tuple(streams), {name: np.array(own[row], np.float32) for name, own in side.items()}))
    return about, items


def _parquet_lengths(path: Path) -> list[int]:
    _, parquet = _parquet()
    file = parquet.ParquetFile(path)
    name = "codes" if "codes" in file.schema_arrow.names else "codes_0"
    lengths = list[int]()
    for chunk in file.read(columns=[name]).column(name).chunks:
        frames, books = chunk.values.offsets.to_numpy(), chunk.offsets.to_numpy()[:-1]
        lengths += (frames[books + 1] - frames[books]).tolist()
    return lengths


def _rows(column: Any) -> Iterator[Any]:
    """Yield an array of each row of a column of lists, or a list of arrays where they are lists of lists.

    Whole columns are turned into arrays, since each look at a row takes Arrow a hundredth of a millisecond.
    """
    for chunk in column.chunks:
        values, inner = chunk.values, None
        if hasattr(values, "values"):
            values, inner = values.values, values.offsets.to_numpy()
        numbers, offsets = values.to_numpy(zero_copy_only=False), chunk.offsets.to_numpy()
        for first, last in pairwise(offsets.tolist()):
            if inner is None:
                yield numbers[first:last]
            else:
                yield [numbers[start:stop] for start, stop in pairwise(inner[first : last + 1].tolist())]


def _nested(pa: Any, arrays: list[np.ndarray], dtype: np.dtype) -> Any:
    """Return arrays [codebooks, frames] as a column of lists of lists."""
    values = np.concatenate([array.reshape(-1) for array in arrays] or [np.zeros(0, dtype)]).astype(dtype)
    books = np.cumsum([0, *(array.shape[1] for array in arrays for _ in range(array.shape[0]))], dtype=np.int32)
    items = np.cumsum([0, *(array.shape[0] for array in arrays)], dtype=np.int32)
    return pa.ListArray.from_arrays(items, pa.ListArray.from_arrays(books, values))


def _stacked(books: list[np.ndarray], about: About, stream: int, first: int) -> np.ndarray:
    """Return a stream of codebooks that were read; one without codebooks has as many frames as the `first` stream says."""
    count, rates = len(about.codebook_sizes[stream]), about.frame_rates
    if len(books) != count:
        raise ValueError(f"{len(books)} codebooks where {count} are expected")
    return np.stack(books).astype(about.dtype) if books else np.zeros((0, round(first * rates[stream] / rates[0])), about.dtype)


def _write_tar(path: Path, about: About, items: Sequence[Item], number: int) -> None:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        _add(archive, ABOUT, about.to_json().encode())
        for i, item in enumerate(items):
            key = f"{number:06d}{i:06d}"
            _add(archive, f"{key}.json", json.dumps(facts(about, item), sort_keys=True).encode())
            parts = dict(zip(stream_names(about), item.streams, strict=True))
            parts |= {f"side_{name}": item.side[name] for name in about.side}
            for name, array in parts.items():
                buffer = io.BytesIO()
                np.save(buffer, array, allow_pickle=False)
                _add(archive, f"{key}.{name}.npy", buffer.getvalue())


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def _read_tar(path: Path) -> Read:
    members: dict[str, dict[str, bytes]] = {}
    with tarfile.open(path, "r:") as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None:
                key, _, kind = member.name.partition(".")
                members.setdefault(key, {})[kind] = file.read()
    about = About.from_json(members.pop(ABOUT)[""], str(path))

    def array(parts: dict[str, bytes], name: str) -> np.ndarray:
        return np.load(io.BytesIO(parts[f"{name}.npy"]), allow_pickle=False)

    items = []
    for parts in members.values():
        told = json.loads(parts["json"])
        streams = tuple(array(parts, name) for name in stream_names(about))
        side = {name: array(parts, f"side_{name}") for name in about.side}
        items.append(Item(told["path"], told["sha256"], told["n_samples"], streams, side))
    return about, items


def _tar_lengths(path: Path) -> list[int]:
    with tarfile.open(path, "r:") as archive:
        return [
            _frames(archive.extractfile(member)) for member in archive if member.name.endswith((".codes.npy", ".codes_0.npy"))
        ]


def _frames(file: Any) -> int:
    """Return the frames that the header of an array [codebooks, frames] tells."""
    np.lib.format.read_magic(file)
    return np.lib.format.read_array_header_1_0(file)[0][1]


def _write_npz(path: Path, about: About, items: Sequence[Item], number: int) -> None:
    arrays: dict[str, np.ndarray] = {"toneme": np.frombuffer(about.to_json().encode(), np.uint8)}
    names = json.dumps([[item.path, item.sha256] for item in items])  # arrays of text pad all to the longest
    arrays["recordings"] = np.frombuffer(names.encode(), np.uint8)
    arrays["n_samples"] = np.array([item.n_samples for item in items], np.int64)
    for i, name in enumerate(stream_names(about)):
        own = [item.streams[i] for item in items] or [np.zeros((len(about.codebook_sizes[i]), 0), about.dtype)]
        arrays[name] = np.concatenate(own, axis=1)
        arrays[f"{name}_ends"] = np.cumsum([item.streams[i].shape[1] for item in items], dtype=np.int64)
    for name in about.side:
        own = [item.side[name] for item in items] or [np.zeros(0, np.float32)]
        arrays[f"side_{name}"] = np.concatenate(own)
        arrays[f"side_{name}_ends"] = np.cumsum([len(item.side[name]) for item in items], dtype=np.int64)
    with path.open("wb") as file:  # savez would add a suffix to a name
        np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]


def _read_npz(path: Path) -> Read:
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    about = About.from_json(arrays["toneme"].tobytes(), str(path))
    recordings = json.loads(arrays["recordings"].tobytes())
    streams = [np.split(arrays[name], arrays[f"{name}_ends"][:-1], axis=1) for name in stream_names(about)]
    side = {name: np.split(arrays[f"side_{name}"], arrays[f"side_{name}_ends"][:-1]) for name in about.side}
    items = []
    for row, ((name, sha), n) in enumerate(zip(recordings, arrays["n_samples"].tolist(), strict=True)):
        items.append(Item(name, sha, n, tuple(own[row] for own in streams), {key: own[row] for key, own in side.items()}))
    return about, items


def _npz_lengths(path: Path) -> list[int]:
    with np.load(path, allow_pickle=False) as file:
        ends = file["codes_ends" if "codes_ends" in file.files else "codes_0_ends"]
    return np.diff(ends, prepend=0).tolist()


FORMATS: dict[str, tuple[Callable[[Path, About, Sequence[Item], int], None], Callable[[Path], Read]]] = {
    ".parquet": (_write_parquet, _read_parquet),
    ".tar": (_write_tar, _read_tar),
    ".npz": (_write_npz, _read_npz),
}
LENGTHS: dict[str, Callable[[Path], list[int]]] = {
    ".parquet": _parquet_lengths,
    ".tar": _tar_lengths,
    ".npz": _npz_lengths,
}
SUFFIXES = {"parquet": ".parquet", "webdataset": ".tar", "npz": ".npz"}
