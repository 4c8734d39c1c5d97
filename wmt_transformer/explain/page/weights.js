// The model's weights, as wmt_transformer/explain/weights.py holds them: float16, or int8 with a scale for each channel.

/** Returns name → Float32Array, from arrays one after the other: [name, size], or [name, size, channels, neighbours],
 * where `neighbours` numbers side by side belong to one channel. */
export function unpacked(bytes, tensors) {
  const weights = {};
  let at = 0;
  const next = (count) => bytes.slice(at, (at += count));
  for (const [name, size, channels, neighbours] of tensors)
    weights[name] = channels
      ? scaled(new Float32Array(next(4 * channels)), new Int8Array(next(size)), neighbours)
      : widened(new Uint16Array(next(2 * size)));
  return weights;
}

function scaled(scales, codes, neighbours) {
  const values = new Float32Array(codes.length);
  for (let i = 0; i < codes.length; i++) values[i] = codes[i] * scales[Math.floor(i / neighbours) % scales.length];
  return values;
}

function widened(halves) {
  const values = new Float32Array(halves.length), bits = new Uint32Array(values.buffer);
  for (let i = 0; i < halves.length; i++) {
    const half = halves[i], sign = half & 0x8000;
    if (half & 0x7c00) bits[i] = (sign << 16) | (((half & 0x7fff) << 13) + (112 << 23)); // its exponent counts from -15
    else values[i] = ((sign ? -1 : 1) * (half & 0x3ff)) / 2 ** 24; // too small for an exponent
  }
  return values;
}
