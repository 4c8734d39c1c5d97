// A Markov chain (Shannon 1948): the next piece given the last `order` pieces alone, by counting in a text.

import { BOS, EOS } from "./beam.js";

export class Chain {
  /** Counts in the pieces of a text, whose sentences end with EOS. */
  constructor(tokens, order) {
    this.order = order;
    this.counts = new Map(); // context → piece → how often
    let context = Array(order).fill(BOS);
    for (const token of tokens) {
      const key = context.join();
      if (!this.counts.has(key)) this.counts.set(key, new Map());
      const row = this.counts.get(key);
      row.set(token, (row.get(token) ?? 0) + 1);
      context = token === EOS ? Array(order).fill(BOS) : [...context, token].slice(1, order + 1);
    }
  }

  /** Returns [id, probability] of the pieces that ever followed, the most frequent first; none for what never occurred. */
  next(tokens) {
    const row = this.counts.get([...Array(this.order).fill(BOS), ...tokens].slice(tokens.length).join());
    if (!row) return [];
    const total = [...row.values()].reduce((a, n) => a + n, 0);
    return [...row].map(([id, n]) => [id, n / total]).sort((a, b) => b[1] - a[1] || a[0] - b[0]);
  }
}
