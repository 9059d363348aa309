// An exported codec in the browser: the graphs of `codec export` in onnxruntime-web, with states in and out.

const ARRAYS = { float32: Float32Array, int64: BigInt64Array, int32: Int32Array, bool: Uint8Array };
const SILENT = -1n; // the code that stands for no vector

export class Codec {
  /** Load codec.json and the graphs from a folder's address; a codec that the page cannot run is an Error of one sentence. */
  static async load(base, runtimeBase) {
    const manifest = await (await get(new URL("codec.json", base), "the exported codec is not here")).json();
    if (manifest.decoder.mode !== "steps" || manifest.encoder?.mode === "chunks" || manifest.streams.length !== 1) {
      throw new Error(`${manifest.codec} is coded in chunks, and this page runs codecs that stream frame by frame: use the command line.`);
    }
    const ort = await runtime(runtimeBase);
    const graph = async (side) => {
      const fetched = async (name) => new Uint8Array(await (await get(new URL(name, base), `${name} is not here`)).arrayBuffer());
      const bytes = await fetched(side.file), weights = side.file.replace(/onnx$/, "data");
      const externalData = refers(bytes, weights) ? [{ path: weights, data: await fetched(weights) }] : [];
      return ort.InferenceSession.create(bytes, { executionProviders: ["wasm"], externalData });
    };
    const encoder = manifest.encoder ? await graph(manifest.encoder) : null;
    return new Codec(ort, manifest, encoder, await graph(manifest.decoder));
  }

  constructor(ort, manifest, encoder, decoder) {
    Object.assign(this, { ort, manifest, encoder, decoder });
    this.sampleRate = manifest.sample_rate;
    this.sizes = manifest.streams[0].codebook_sizes;
    this.frameRate = manifest.sample_rate / manifest.streams[0].hop;
  }

  /** The nominal rate of so many codebooks, in kbps. */
  kbps(codebooks) {
    return this.sizes.slice(0, codebooks).reduce((sum, size) => sum + this.frameRate * Math.log2(size), 0) / 1000;
  }

  /** Return the codes of audio: an Int32Array of frames per codebook. */
  async encode(audio, onProgress = () => {}) {
    const side = this.manifest.encoder;
    if (!side) throw new Error(`${this.manifest.codec} only decodes here: encode with the command line.`);
    const samples = audio.length + side.tail;
    const units = audio.length ? Math.ceil(samples / side.unit) : 0;
    const padded = new Float32Array(units * side.unit);
    padded.set(audio);
    const pieces = [];
    let states = this.states(side);
    for (const [start, stop] of spans(units, Math.max(side.most, side.start))) {
      const first = start * side.unit, last = stop * side.unit;
      const inputs = { audio: new this.ort.Tensor("float32", padded.slice(first, last), [1, 1, last - first]) };
      if (side.length) inputs.length = new this.ort.Tensor("int64", BigInt64Array.of(BigInt(Math.min(last, samples) - first)), [1]);
      const outputs = await this.encoder.run({ ...inputs, ...states });
      states = after(side, states, outputs);
      pieces.push(rows(outputs[this.encoder.outputNames[0]]));
      onProgress(stop / units);
    }
    return this.sizes.map((_, n) => join(pieces.map((piece) => piece[n]), Int32Array).slice(side.skip));
  }

  /** Return the audio of codes, so many samples of it. */
  async decode(codes, samples, onProgress = () => {}) {
    const side = this.manifest.decoder;
    const frames = codes[0].length ? codes[0].length + side.tail : 0;
    const pieces = [];
    let states = this.states(side);
    for (const [start, stop] of spans(frames, Math.max(side.most, side.start))) {
      const flat = new BigInt64Array(codes.length * (stop - start)).fill(SILENT);
      codes.forEach((row, n) => row.slice(start, stop).forEach((code, t) => { flat[n * (stop - start) + t] = BigInt(code); }));
      const outputs = await this.decoder.run({ codes: new this.ort.Tensor("int64", flat, [1, codes.length, stop - start]), ...states });
      states = after(side, states, outputs);
      pieces.push(outputs[this.decoder.outputNames[0]].data);
      onProgress(stop / frames);
    }
    const audio = new Float32Array(samples);
    audio.set(join(pieces, Float32Array).subarray(side.skip, side.skip + samples));
    return audio;
  }

  states(side) {
    return Object.fromEntries(side.states.map(({ name, shape, type }) => {
      const sized = shape.map((axis) => (axis === "batch" ? 1 : axis));
      const values = new ARRAYS[type](sized.reduce((product, axis) => product * axis, 1));
      return [`state.${name}`, new this.ort.Tensor(type, values, sized)];
    }));
  }
}

function after(side, states, outputs) {
  const position = Number(states["state.position"]?.data[0]);
  return Object.fromEntries(side.states.map(({ name, ring }) => {
    const before = states[`state.${name}`], given = outputs[`next.${name}`];
    return [`state.${name}`, ring == null ? given : written(before, given, ring, position)];
  }));
}

/** Write the rows of a call over the oldest of a ring, whose slots are along `axis`, and return the ring. */
function written(ring, rows, axis, position) {
  const size = ring.dims[axis], count = rows.dims[axis];
  const [outer, inner] = [rows.dims.slice(0, axis), rows.dims.slice(axis + 1)].map((dims) => dims.reduce((a, b) => a * b, 1));
  for (let part = 0; part < outer; part++) {
    for (let n = Math.max(0, count - size); n < count; n++) {
      const row = (part * count + n) * inner;
      ring.data.set(rows.data.subarray(row, row + inner), (part * size + (position + n) % size) * inner);
    }
  }
  return ring;
}

function rows(tensor) {
  const [, count, frames] = tensor.dims;
  return Array.from({ length: count }, (_, n) => Int32Array.from(tensor.data.slice(n * frames, (n + 1) * frames), Number));
}

function join(pieces, Kind) {
  const joined = new Kind(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) { joined.set(piece, at); at += piece.length; }
  return joined;
}

/** [start, stop) of pieces of `most`, the last one up to twice that. */
function spans(count, most) {
  const pieces = count ? Math.max(1, Math.floor(count / most)) : 0;
  return Array.from({ length: pieces }, (_, n) => [n * most, n === pieces - 1 ? count : (n + 1) * most]);
}

/** Say whether a graph has weights in a file of that name, which it then tells by its letters; with weights in it, it is large. */
function refers(bytes, name) {
  return bytes.length < 1 << 24 && new TextDecoder("latin1").decode(bytes).includes(name);
}

async function get(url, what) {
  const answer = await fetch(url).catch(() => null);
  if (!answer?.ok) throw new Error(`${what} (${url.pathname}): see that the page was put together by codec serve.`);
  return answer;
}

async function runtime(base) {
  let ort;
  try {
    ort = await import(new URL("ort.wasm.min.mjs", base).href);
  } catch {
    throw new Error("onnxruntime-web is not here: run `npm install onnxruntime-web`, then start `codec serve` again.");
  }
  ort.env.wasm.wasmPaths = base.href;
  ort.env.wasm.numThreads = 1; // more need headers that not every static server sends
  return ort;
}
