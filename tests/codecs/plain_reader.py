"""A reader of `.tok` made from TOKENFILE.md alone: plain Python, no arrays, nothing of ours. It proves the specification."""

import struct

WEIGHTS = (0, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181, 256)


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


class Bytes:
    def __init__(self, data: bytes) -> None:
        self.data, self.at, self.start = data, 0, 0

    def take(self, n: int) -> bytes:
        assert self.at + n <= len(self.data)
        self.at += n
        return self.data[self.at - n : self.at]

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def string(self) -> str:
        return self.take(self.varint()).decode()

    def check(self) -> None:
        computed = crc32c(self.data[self.start : self.at])
        assert computed == struct.unpack("<I", self.take(4))[0]
        self.start = self.at


class Decoder:
    def __init__(self, data: bytes) -> None:
        self.x, self.words = int.from_bytes(data[:6], "little"), Bytes(data[6:])

    def symbol(self, starts: list[int]) -> int:
        slot = self.x % 65536
        symbol = next(s for s in range(len(starts) - 1) if starts[s] <= slot < starts[s + 1])
        self.x = (starts[symbol + 1] - starts[symbol]) * (self.x // 65536) + slot - starts[symbol]
        if self.x < 1 << 32:
            self.x = self.x * 65536 + struct.unpack("<H", self.words.take(2))[0]
        return symbol


def read(data: bytes) -> dict:
    """Return the header's fields, "streams" (lists of codebooks of codes) and "side" (lists of numbers)."""
    file = Bytes(data)
    assert file.take(5) == b"\xffTOK\x01"
    file.varint()
    header = read_header(file)
    file.check()
    header["streams"] = [[[] for _ in sizes] for _, sizes in header["layout"]]
    header["side"] = {name: [] for name in header["side_names"]}
    tables: dict[int, list[int]] = {}
    while (kind := file.take(1)[0]) != 1:
        if kind == 2:
            tables = read_tables(file.take(file.varint()), header["sizes"])
        else:
            read_chunk(kind, file, header, tables)
        file.check()
    file.varint()
    header["n_samples"] = file.varint()
    assert [file.varint() for _ in header["layout"]] == header["totals"]
    return header


def read_header(file: Bytes) -> dict:
    header = {"codec": file.string(), "weights_hash": file.string(), "sample_rate": file.varint(), "channels": file.varint()}
    file.varint()
    file.varint()
    layout = []
    for _ in range(file.varint()):
        rate = struct.unpack("<d", file.take(8))[0]
        sizes = []
        for _ in range(file.varint()):
            size = file.varint()
            sizes += [size] * file.varint()
        layout.append((rate, sizes))
    header["layout"], header["sizes"] = layout, [size for _, sizes in layout for size in sizes]
    header["totals"] = [0] * len(layout)
    header["side_period"] = file.varint()
    header["side_names"] = [file.string() for _ in range(file.varint())]
    header["metadata"] = {file.string(): file.string() for _ in range(file.varint())}
    return header


def read_tables(data: bytes, sizes: list[int]) -> dict[int, list[int]]:
    at, tables = (len(sizes) + 7) // 8, {}
    for i, size in enumerate(sizes):
        if data[i // 8] >> i % 8 & 1:
            weights = [WEIGHTS[data[at + s // 2] >> 4 * (s % 2) & 15] for s in range(size)]
            tables[i] = [s + sum(weights[:s]) * (65536 - size) // sum(weights) for s in range(size + 1)]
            at += (size + 1) // 2
    return tables


def read_chunk(kind: int, file: Bytes, header: dict, tables: dict[int, list[int]]) -> None:
    file.varint()
    frames = [file.varint() for _ in header["layout"]]
    segments = file.varint() if header["side_names"] else 0
    end = file.varint() + file.at
    for values in header["side"].values():
        values += struct.unpack(f"<{segments}f", file.take(4 * segments))
    counts = [n for n, (_, sizes) in zip(frames, header["layout"], strict=True) for _ in sizes]
    content = file.take(end - file.at)
    decoded = packed(content, counts, header["sizes"]) if kind == 16 else coded(kind, content, counts, header["sizes"], tables)
    rows = iter(decoded)
    for stream in header["streams"]:
        for codebook in stream:
            codebook += next(rows)
    header["totals"] = [total + n for total, n in zip(header["totals"], frames, strict=True)]


def packed(data: bytes, counts: list[int], sizes: list[int]) -> list[list[int]]:
    bits, rows = int.from_bytes(data, "little"), []
    for count, size in zip(counts, sizes, strict=True):
        width = max(1, (size - 1).bit_length())
        row = []
        for _ in range(count):
            row.append(bits % (1 << width))
            bits >>= width
        rows.append(row)
    return rows


def coded(kind: int, data: bytes, counts: list[int], sizes: list[int], tables: dict[int, list[int]]) -> list[list[int]]:
    repeats = list(data[: len(counts)]) if kind & 4 else [0] * len(counts)
    decoder, rows = Decoder(data[len(counts) if kind & 4 else 0 :]), []
    for i, (count, size, weight) in enumerate(zip(counts, sizes, repeats, strict=True)):
        starts = [s * 65536 // size for s in range(size + 1)]
        if kind & 2:
            starts = tables.get(i, starts)
        flags = [1] * count
        if weight and count >= 2:
            flags[1:] = [decoder.symbol([0, 256 * weight, 65536]) for _ in range(count - 1)]
        fresh = iter([decoder.symbol(starts) for _ in range(sum(flags))])
        row = []
        for flag in flags:
            row.append(next(fresh) if flag else row[-1])
        rows.append(row)
    assert decoder.x == 1 << 32
    return rows
