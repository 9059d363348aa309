// The page: from a file or the microphone to codes, to sound at each bitrate, to pictures and downloads.

import { decodeFile, record, wavBytes } from "./audio.js";
import { Codec } from "./codec.js";
import { drawGrid, drawSpectrogram, drawWaveform } from "./draw.js";
import { readTok, writeTok } from "./tok.js";

const MOST_SECONDS = 600;
const at = (id) => document.getElementById(id);
const addresses = new Map(); // element id -> the blob's address that it shows
let codec, recording, turning = false;
let queue = Promise.resolve(); // what was asked for, one after another
let shown = null; // { name, audio (null for a token file), codes, samples, sounds: per number of codebooks }

function say(text) { at("status").textContent = text; }

function fail(error) {
  at("error").textContent = error.message || String(error);
  at("error").hidden = false;
  say(codec ? "Ready." : "The codec could not be loaded.");
}

/** Run one thing after another; what goes wrong becomes a sentence in the page. Nothing is disabled: it would lose the focus. */
function attempt(action) {
  queue = queue.then(async () => {
    document.body.setAttribute("aria-busy", true);
    try {
      at("error").hidden = true;
      await action();
    } catch (error) {
      fail(error);
    }
    document.body.setAttribute("aria-busy", false);
  });
  return queue;
}

async function open(file) {
  const name = file.name.replace(/\.[^.]*$/, "") || "audio";
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (bytes[0] === 0xff && bytes[1] === 0x54 && bytes[2] === 0x4f) return openTok(name, bytes);
  say("Reading the audio…");
  const audio = await decodeFile(bytes.buffer, codec.sampleRate);
  if (!audio.length) throw new Error("This audio holds no samples: record or choose another.");
  if (audio.length > MOST_SECONDS * codec.sampleRate) throw new Error(`The page takes up to ${MOST_SECONDS} seconds: use the command line for more.`);
  const codes = await codec.encode(audio, (part) => say(`Encoding, ${Math.round(100 * part)} %`));
  await present({ name, audio, codes, samples: audio.length, sounds: [] });
}

async function openTok(name, bytes) {
  const file = readTok(bytes), about = codec.manifest;
  if (file.codec !== about.codec || (file.weights_hash && file.weights_hash !== about.weights_hash)) {
    throw new Error(`These tokens were made by ${file.codec} ${file.weights_hash}, not by ${about.codec} ${about.weights_hash}: serve that codec.`);
  }
  if (file.sizes.length > codec.sizes.length || file.sizes.some((size, n) => size !== codec.sizes[n])) throw new Error("These tokens have other codebooks than this codec.");
  if (file.samples > (file.codes[0].length + 1) * codec.sampleRate / codec.frameRate) throw new Error("This token file claims more audio than its frames stand for: it is damaged.");
  await present({ name, audio: null, codes: file.codes, samples: file.samples, sounds: [] });
}

async function present(item) {
  shown = item;
  at("rates").querySelectorAll("label").forEach((label) => label.remove());
  item.codes.forEach((_, n) => at("rates").append(choice(n + 1, n + 1 === item.codes.length)));
  at("original-figure").hidden = !item.audio;
  if (item.audio) show("original", "src", wavBytes(item.audio, codec.sampleRate), "audio/wav");
  at("result").hidden = false;
  await hear(item.codes.length);
}

function choice(depth, checked) {
  const label = document.createElement("label"), input = document.createElement("input");
  Object.assign(input, { type: "radio", name: "rate", value: depth, checked });
  input.addEventListener("change", () => attempt(() => input.checked && hear(depth))); // a later choice passes over earlier ones
  label.append(input, ` ${codec.kbps(depth).toFixed(2)} kbps`);
  return label;
}

async function hear(depth) {
  const { name, audio, codes, samples, sounds } = shown, kept = codes.slice(0, depth);
  sounds[depth] ??= await codec.decode(kept, samples, (part) => say(`Decoding, ${Math.round(100 * part)} %`));
  const sound = sounds[depth], tok = writeTok(codec.manifest, kept, samples), seconds = samples / codec.sampleRate;
  show("decoded", "src", wavBytes(sound, codec.sampleRate), "audio/wav");
  show("save-wav", "href", wavBytes(sound, codec.sampleRate), "audio/wav");
  show("save-tok", "href", tok, "application/octet-stream");
  at("save-wav").download = `${name}.wav`;
  at("save-tok").download = `${name}.tok`;
  at("decoded-label").textContent = `Decoded at ${codec.kbps(depth).toFixed(2)} kbps`;
  at("size").textContent = `${tok.length.toLocaleString("en")} bytes, ${(tok.length * 8 / seconds / 1000).toFixed(2)} kbps with headers`;
  drawWaveform(at("waveform"), audio, sound);
  drawSpectrogram(at("spectrogram"), sound, codec.sampleRate);
  drawGrid(at("grid"), kept, codec.sizes);
  say(`${seconds.toFixed(2)} s, ${depth} of ${codes.length} codebooks, ${codes[0].length} frames.`);
}

/** Give an element a blob's address and let go of the one before. */
function show(id, attribute, bytes, type) {
  URL.revokeObjectURL(addresses.get(id));
  addresses.set(id, URL.createObjectURL(new Blob([bytes], { type })));
  at(id)[attribute] = addresses.get(id);
}

async function toggleRecording() {
  if (turning) return; // the microphone is being asked for
  turning = true;
  at("error").hidden = true;
  try {
    if (recording) await stopRecording();
    else await startRecording();
  } catch (error) {
    recording = null;
    fail(error);
  }
  markRecording(Boolean(recording));
  turning = false;
}

async function startRecording() {
  recording = await record(MOST_SECONDS, () => at("record").click());
  say("Recording. Press the button again to stop.");
}

async function stopRecording() {
  const blob = await recording.stop();
  recording = null;
  attempt(() => open(new File([blob], "recording")));
}

function markRecording(on) {
  at("record").setAttribute("aria-pressed", on);
  at("record").textContent = on ? "Stop" : "Record";
}

function listen() {
  at("file").addEventListener("change", () => {
    const [file] = at("file").files;
    if (file) attempt(() => open(file)).then(() => { at("file").value = ""; });
  });
  at("record").addEventListener("click", toggleRecording);
  addEventListener("dragover", (event) => { event.preventDefault(); at("drop").classList.add("over"); });
  addEventListener("dragleave", () => at("drop").classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    at("drop").classList.remove("over");
    const [file] = event.dataTransfer.files;
    if (file && !at("file").disabled) attempt(() => open(file));
  });
}

listen();
attempt(async () => {
  const here = new URL("./", import.meta.url);
  codec = await Codec.load(new URL("model/", here), new URL("ort/", here));
  const { codec: name, sample_rate: rate } = codec.manifest;
  at("about").textContent = `${name}: ${rate / 1000} kHz, ${codec.frameRate} frames a second, ${codec.sizes.length} codebooks, ${codec.kbps(1).toFixed(2)} to ${codec.kbps(codec.sizes.length).toFixed(2)} kbps. Everything runs in this page.`;
  at("file").disabled = false;
  at("record").disabled = !codec.encoder;
  say("Ready.");
});
