// Which piece is drawn: the filters of wmt_transformer/decode/sampling.py, in the order temperature, top-k, top-p.

import { logSoftmax } from "./model.js";
import { BOS, PAD } from "./beam.js";

/** Returns the probabilities that the filters leave [vocabulary]; PAD and BOS have none. */
export function filtered(logits, { temperature = 1, topK = Infinity, topP = 1 } = {}) {
  const logs = logSoftmax(logits);
  logs[PAD] = logs[BOS] = -Infinity;
  const order = [...logs.keys()].sort((a, b) => logs[b] - logs[a] || a - b); // of equals the lower id first
  const kept = order.slice(0, temperature === 0 ? 1 : topK);
  const powers = kept.map((id) => Math.exp((logs[id] - logs[kept[0]]) / (temperature || 1)));
  const total = powers.reduce((a, v) => a + v, 0);
  const found = new Float32Array(logs.length);
  let before = 0, left = 0;
  kept.forEach((id, i) => {
    if (i && before >= topP) return;
    found[id] = powers[i] / total;
    before += found[id];
    left = before;
  });
  return found.map((p) => p / left);
}

/** Draws an id; `random` is a number from 0 to 1. */
export function drawn(probabilities, random) {
  let left = random;
  for (let id = 0; id < probabilities.length; id++) if ((left -= probabilities[id]) < 0) return id;
  return probabilities.indexOf(probabilities.reduce((a, v) => Math.max(a, v)));
}

/** Returns a function that gives numbers from 0 to 1, the same ones for the same seed (mulberry32). */
export function randomNumbers(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), seed | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
