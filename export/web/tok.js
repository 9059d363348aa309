// The token file of TOKENFILE.md, packed chunks of one stream: the bytes that `codec encode --packed` writes.

const MAGIC = [0xff, 0x54, 0x4f, 0x4b], FOOTER = [0x4b, 0x4f, 0x54, 0xff];
const TARGET_BYTES = 3072, MAX_SECONDS = 60, MAX_CODES = 2 ** 20, MAX_FRAMES = 2 ** 16;
const END = 0x01, TABLE = 0x02, CHUNK = 0x10;
const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? (n >>> 1) ^ 0x82f63b78 : n >>> 1;
  return n >>> 0;
});

/** Return the bytes of a file: `codes` is an Int32Array per codebook, `about` what codec.json says. */
export function writeTok(about, codes, samples) {
  const stream = about.streams[0], sizes = stream.codebook_sizes.slice(0, codes.length);
  const rate = about.sample_rate / stream.hop, widths = sizes.map(width), per = chunkFrames(rate, widths);
  const records = [], out = [...header(about, rate, sizes)];
  for (let first = 0; first < codes[0].length; first += per) {
    const part = codes.map((row) => row.subarray(first, first + per));
    const content = pack(part, widths);
    const record = checked([CHUNK, ...varint(first), ...varint(part[0].length), ...varint(content.length), ...content]);
    records.push([record.length, part[0].length]);
    for (const byte of record) out.push(byte);
  }
  const end = endRecord(samples, codes[0].length, records);
  return Uint8Array.from([...out.splice(0), ...end, ...u32(end.length), ...FOOTER]);
}

function header(about, rate, sizes) {
  const content = [...string(about.codec), ...string(about.weights_hash)];
  content.push(...varint(about.sample_rate), ...varint(about.channels), 0, 0, 1); // length not known yet, packed, one stream
  content.push(...new Uint8Array(new Float64Array([rate]).buffer));
  const runs = [];
  for (const size of sizes) {
    if (runs.at(-1)?.[0] === size) runs.at(-1)[1]++;
    else runs.push([size, 1]);
  }
  content.push(...varint(runs.length), ...runs.flatMap(([size, count]) => [...varint(size), ...varint(count)]), 0, 0);
  content.push(...(about.window ? [1, ...string("window"), ...string(about.window)] : [0]));
  return checked([...MAGIC, 1, ...varint(content.length), ...content]);
}

function endRecord(samples, frames, records) {
  const content = [...varint(samples), ...varint(frames), ...varint(records.length)];
  let before = 0;
  for (const [length, count] of records) {
    if (count === before) content.push(...varint(length * 4));
    else content.push(...varint(length * 4 + 1), ...varint(count));
    before = count;
  }
  return checked([END, ...varint(content.length), ...content]);
}

function chunkFrames(rate, widths) {
  const bits = widths.reduce((sum, w) => sum + w, 0);
  const seconds = Math.min(MAX_SECONDS, Math.max(1, (TARGET_BYTES * 8) / bits / rate));
  const most = Math.min(Math.floor(MAX_CODES / widths.length), MAX_FRAMES);
  return Math.max(1, Math.min(Math.ceil(Math.min(seconds * rate, most)), most));
}

/** Return {codec, weights_hash, sample_rate, codes, samples} of a file; what cannot be read is an Error of one sentence. */
export function readTok(bytes) {
  const view = new Cursor(bytes);
  if (!MAGIC.every((byte) => byte === view.byte())) throw new Error("This is not a token file: choose one that `codec encode` wrote.");
  if (view.byte() !== 1) throw new Error("This token file is of a newer version than this page reads.");
  view.number();
  const about = readHeader(view);
  view.check(0);
  const codes = about.sizes.map(() => []);
  for (;;) {
    const start = view.at, kind = view.byte();
    if (kind === END) return { ...about, codes: codes.map((row) => Int32Array.from(row)), samples: readEnd(view, start, codes) };
    if (kind === TABLE || (kind !== CHUNK && kind < 0x18 && kind > CHUNK)) {
      throw new Error("This token file is entropy-coded, and the page reads packed ones: decode it with `codec decode`, or encode with --packed.");
    }
    if (kind !== CHUNK) throw view.damaged();
    readChunk(view, start, about.sizes, codes);
  }
}

function readHeader(view) {
  const about = { codec: view.string(), weights_hash: view.string(), sample_rate: view.number(), channels: view.number() };
  view.number();
  view.number();
  if (view.number() !== 1) throw new Error("This token file has several streams, and the page reads one: use `codec decode`.");
  view.take(8);
  about.sizes = [];
  for (let runs = view.number(); runs > 0; runs--) {
    const size = view.number(), count = view.number();
    if (about.sizes.length + count > 1024) throw view.damaged();
    about.sizes.push(...Array(count).fill(size));
  }
  view.number();
  if (view.number()) throw new Error("This token file has numbers beside its codes, which the page does not read: use `codec decode`.");
  for (let pairs = view.number(); pairs > 0; pairs--) { view.string(); view.string(); }
  return about;
}

function readChunk(view, start, sizes, codes) {
  const first = view.number(), frames = view.number(), length = view.number(), widths = sizes.map(width);
  const bits = widths.reduce((sum, w) => sum + w * frames, 0);
  if (first !== codes[0].length || !frames || frames * sizes.length > MAX_CODES || length !== Math.ceil(bits / 8)) throw view.damaged();
  const content = view.take(length);
  view.check(start);
  let at = 0;
  widths.forEach((w, n) => {
    for (let t = 0; t < frames; t++) {
      let code = 0;
      for (let bit = 0; bit < w; bit++, at++) code += ((content[at >> 3] >> (at & 7)) & 1) * 2 ** bit;
      if (code >= sizes[n]) throw view.damaged();
      codes[n].push(code);
    }
  });
}

function readEnd(view, start, codes) {
  const length = view.number(), stop = view.at + length, samples = view.number(), frames = view.number();
  if (frames !== codes[0].length || stop > view.bytes.length) throw view.damaged();
  view.at = stop;
  view.check(start);
  return samples;
}

class Cursor {
  constructor(bytes) { this.bytes = bytes; this.at = 0; }

  damaged() { return new Error(`This token file is damaged or cut at byte ${this.at}: fetch it again.`); }

  take(count) {
    if (this.at + count > this.bytes.length) throw this.damaged();
    return this.bytes.subarray(this.at, (this.at += count));
  }

  byte() { return this.take(1)[0]; }

  number() {
    let value = 0;
    for (let n = 0; n < 7; n++) { // 49 bits: more are beyond what a double holds
      const byte = this.byte();
      value += (byte & 127) * 2 ** (7 * n);
      if (byte < 128) return value;
    }
    throw this.damaged();
  }

  string() { return new TextDecoder().decode(this.take(this.number())); }

  check(start) {
    const found = crc(this.bytes.subarray(start, this.at));
    if (u32(found).some((byte) => byte !== this.byte())) throw this.damaged();
  }
}

function pack(rows, widths) {
  const out = new Uint8Array(Math.ceil(rows.reduce((sum, row, n) => sum + row.length * widths[n], 0) / 8));
  let at = 0;
  rows.forEach((row, n) => {
    for (const code of row) {
      for (let bit = 0; bit < widths[n]; bit++, at++) out[at >> 3] |= ((code >>> bit) & 1) << (at & 7);
    }
  });
  return out;
}

function checked(bytes) { return [...bytes, ...u32(crc(bytes))]; }

function crc(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = CRC[(value ^ byte) & 255] ^ (value >>> 8);
  return ~value >>> 0;
}

function u32(value) { return [value & 255, (value >>> 8) & 255, (value >>> 16) & 255, value >>> 24]; }

function varint(value) {
  const out = [];
  while (value > 127) { out.push((value % 128) | 128); value = Math.floor(value / 128); }
  return [...out, value];
}

function string(text) {
  const bytes = new TextEncoder().encode(text);
  return [...varint(bytes.length), ...bytes];
}

function width(size) { return Math.max(1, Math.ceil(Math.log2(size))); }
