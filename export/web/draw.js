// Pictures of audio and codes, each with a sentence for those who do not see it.

const WINDOW = 512;

/** The loudest samples of each column; the original above, the decoded below. */
export function drawWaveform(canvas, original, decoded) {
  const context = clear(canvas), { width, height } = canvas, parts = original ? [original, decoded] : [decoded];
  context.fillStyle = getComputedStyle(canvas).color;
  parts.forEach((audio, n) => {
    const middle = height * (2 * n + 1) / (2 * parts.length), scale = height / (2 * parts.length);
    for (let x = 0; x < width; x++) {
      let low = 0, high = 0;
      const stop = Math.ceil((x + 1) * audio.length / width);
      for (let i = Math.floor(x * audio.length / width); i < stop; i++) { low = Math.min(low, audio[i] ?? 0); high = Math.max(high, audio[i] ?? 0); }
      context.fillRect(x, middle - high * scale, 1, Math.max(1, (high - low) * scale));
    }
  });
  const peak = decoded.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  canvas.setAttribute("aria-label", `Waveform of ${original ? "the original and " : ""}the decoded audio; peak of the decoded ${peak.toFixed(2)} of full scale`);
}

/** Powers in dB of windows of 512 samples, low frequencies below. */
export function drawSpectrogram(canvas, audio, sampleRate) {
  const context = clear(canvas), { width, height } = canvas, image = context.createImageData(width, height);
  const taper = Float64Array.from({ length: WINDOW }, (_, n) => 0.5 - 0.5 * Math.cos(2 * Math.PI * n / WINDOW));
  let loudest = [-Infinity, 0];
  for (let x = 0; x < width; x++) {
    const centre = Math.floor((x + 0.5) * audio.length / width) - WINDOW / 2;
    const powers = spectrum(taper.map((value, n) => value * (audio[centre + n] ?? 0)));
    for (let y = 0; y < height; y++) {
      const bin = Math.floor((height - 1 - y) * (WINDOW / 2) / height), level = 10 * Math.log10(powers[bin] + 1e-9);
      if (level > loudest[0]) loudest = [level, bin];
      image.data.set(heat((level + 50) / 80), 4 * (y * width + x));
    }
  }
  context.putImageData(image, 0, 0);
  canvas.setAttribute("aria-label", `Spectrogram of the decoded audio, loudest near ${Math.round(loudest[1] * sampleRate / WINDOW)} Hz`);
}

/** A row per codebook, a column per frame; the colour says which code. */
export function drawGrid(canvas, codes, sizes) {
  const context = clear(canvas), { width, height } = canvas, frames = codes[0].length;
  codes.forEach((row, n) => {
    const top = Math.floor(n * height / codes.length), bottom = Math.floor((n + 1) * height / codes.length);
    row.forEach((code, t) => {
      const left = Math.floor(t * width / frames), right = Math.max(left + 1, Math.floor((t + 1) * width / frames));
      context.fillStyle = `hsl(${Math.round(360 * code / sizes[n])} 70% ${35 + 30 * ((code * 7919) % sizes[n]) / sizes[n]}%)`;
      context.fillRect(left, top, right - left, bottom - top - 1);
    });
  });
  const used = codes.map((row) => new Set(row).size).join(", ");
  canvas.setAttribute("aria-label", `Token grid of ${codes.length} codebooks by ${frames} frames; different codes per codebook: ${used}`);
}

function clear(canvas) {
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  return context;
}

/** Powers of the first half of a discrete Fourier transform, radix 2. */
function spectrum(real) {
  const size = real.length, imaginary = new Float64Array(size);
  for (let i = 1, j = 0; i < size; i++) {
    let bit = size >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) [real[i], real[j]] = [real[j], real[i]];
  }
  for (let span = 2; span <= size; span *= 2) {
    for (let k = 0; k < span / 2; k++) {
      const angle = -2 * Math.PI * k / span, c = Math.cos(angle), s = Math.sin(angle);
      for (let i = k; i < size; i += span) {
        const j = i + span / 2, re = real[j] * c - imaginary[j] * s, im = real[j] * s + imaginary[j] * c;
        real[j] = real[i] - re; imaginary[j] = imaginary[i] - im;
        real[i] += re; imaginary[i] += im;
      }
    }
  }
  return real.slice(0, size / 2).map((value, n) => value * value + imaginary[n] * imaginary[n]);
}

function heat(level) {
  const v = Math.max(0, Math.min(1, level));
  return [255 * Math.min(1, 2 * v), 255 * Math.max(0, 2 * v - 0.8) / 1.2, 90 * (1 - v) * Math.min(1, 4 * v) + 60 * v, 255];
}
