// Audio in and out of the page: any file that the browser reads, the microphone, and WAV.

/** Return the samples of a file as one channel at a rate. */
export async function decodeFile(buffer, sampleRate) {
  const plain = readWav(new DataView(buffer));
  if (plain?.rate === sampleRate) return mix(plain.channels);
  const context = new OfflineAudioContext(1, 1, sampleRate);
  let decoded;
  try {
    decoded = await context.decodeAudioData(buffer); // resamples to the context's rate
  } catch {
    throw new Error("The browser cannot read this file as audio: choose WAV, FLAC, Ogg, MP3 or a packed .tok.");
  }
  return mix(Array.from({ length: decoded.numberOfChannels }, (_, n) => decoded.getChannelData(n)));
}

function mix(channels) {
  const mixed = new Float32Array(channels[0].length);
  for (const channel of channels) channel.forEach((value, i) => { mixed[i] += value / channels.length; });
  return mixed;
}

/** Samples of a WAV file of 16 bits or floats, else null. Browsers scale what is above zero by 32,767, and codes would differ. */
function readWav(view) {
  const word = (place) => (place + 4 <= view.byteLength ? view.getUint32(place) : 0);
  if (word(0) !== 0x52494646 || word(8) !== 0x57415645) return null; // RIFF, WAVE
  let format = null;
  for (let place = 12; place + 8 <= view.byteLength;) {
    const name = word(place), size = view.getUint32(place + 4, true);
    place += 8;
    if (name === 0x666d7420 && place + 16 <= view.byteLength) { // fmt
      format = { tag: view.getUint16(place, true), count: view.getUint16(place + 2, true), rate: view.getUint32(place + 4, true), bits: view.getUint16(place + 14, true) };
    } else if (name === 0x64617461) return format && samplesOf(view, format, place, Math.min(size, view.byteLength - place)); // data
    place += size + (size % 2);
  }
  return null;
}

function samplesOf(view, { tag, count, rate, bits }, start, size) {
  const read = { "1/16": (place) => view.getInt16(place, true) / 32768, "3/32": (place) => view.getFloat32(place, true) }[`${tag}/${bits}`];
  if (!read || !count) return null;
  const step = bits / 8, frames = Math.floor(size / (step * count));
  const channels = Array.from({ length: count }, (_, n) => Float32Array.from({ length: frames }, (_, i) => read(start + (i * count + n) * step)));
  return channels.every((channel) => channel.every(Number.isFinite)) ? { rate, channels } : null;
}

/** Begin to record; `stop()` of what is returned gives a Blob. `full` is called in time to stop before `seconds` are over. */
export async function record(seconds, full) {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: false, noiseSuppression: false } });
  } catch {
    throw new Error("The microphone is not to be had: allow it for this page, or choose a file.");
  }
  const recorder = new MediaRecorder(stream), parts = [];
  const ended = new Promise((resolve) => { recorder.onstop = resolve; });
  recorder.ondataavailable = (event) => parts.push(event.data);
  recorder.start(1000);
  const timer = setTimeout(full, 1000 * (seconds - 1)); // until it stops, more comes
  return {
    async stop() {
      clearTimeout(timer);
      if (recorder.state !== "inactive") recorder.stop();
      await ended;
      stream.getTracks().forEach((track) => track.stop());
      return new Blob(parts, { type: recorder.mimeType });
    },
  };
}

/** Return the bytes of a WAV file of 16 bits; what is beyond full scale is clipped. */
export function wavBytes(audio, sampleRate) {
  const bytes = new Uint8Array(44 + 2 * audio.length), view = new DataView(bytes.buffer);
  const text = (place, word) => [...word].forEach((letter, n) => view.setUint8(place + n, letter.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 36 + 2 * audio.length, true); text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, sampleRate, true); view.setUint32(28, 2 * sampleRate, true); view.setUint16(32, 2, true);
  view.setUint16(34, 16, true); text(36, "data"); view.setUint32(40, 2 * audio.length, true);
  audio.forEach((value, n) => view.setInt16(44 + 2 * n, Math.max(-32768, Math.min(32767, Math.round(32768 * value))), true));
  return bytes;
}
