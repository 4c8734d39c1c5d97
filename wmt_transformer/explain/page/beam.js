// Beam search with the length penalty of §6.1, the same as wmt_transformer/decode/beam.py for one sentence.
//
// A hypothesis of log-probability log P scores log P / ((5 + length) / 6) ** alpha. Each step looks at the 2W best
// continuations of the W running hypotheses: those among the best W that end finish, the best W that do not run on. It
// ends when no running hypothesis can still win. Every step is yielded, so that it can be drawn while it grows.

import { logSoftmax } from "./model.js";

export const PAD = 0, BOS = 1, EOS = 2;

export const lengthPenalty = (length, alpha) => ((5 + length) / 6) ** alpha;

/**
 * @param start the first hypothesis's {logits, cache}: the scores of its first piece, and what the model keeps.
 * @param extend `extend(id, cache) -> {logits, cache}`: the same after one more piece.
 * @yields {{length, candidates, running, finished}} candidates: the 2W best continuations, each with its `fate`: runs,
 *   ended or pruned. running and finished: hypotheses {tokens, score}, best first; a running score is log P itself.
 * @returns the best `results` hypotheses, finished ones first; what the limit cut fills the places left.
 */
export function* search(start, extend, { width, alpha, limit, results = width }) {
  const cutPenalty = lengthPenalty(limit, alpha);
  let running = [{ tokens: [], score: 0, ...start }], finished = [];
  for (let length = 1; length <= limit; length++) {
    const candidates = best(running.flatMap((parent, origin) => continuations(parent, origin, 2 * width)), 2 * width);
    candidates.forEach((one, rank) => {
      const ends = one.token === EOS;
      one.fate = ends && rank < width ? "ended" : "pruned";
      one.final = ends ? one.score / lengthPenalty(length, alpha) : undefined;
    });
    const ended = candidates.filter((one) => one.fate === "ended").map((one) => ({ ...one, score: one.final }));
    finished = best([...finished, ...ended], results);
    const next = candidates.filter((one) => one.token !== EOS).slice(0, width);
    for (const one of next) one.fate = "runs";
    yield { length, candidates, running: next, finished };
    running = next;
    const bound = running.length ? running[0].score / cutPenalty : -Infinity;
    if (length === limit || (finished.length === results ? finished[results - 1].score : -Infinity) >= bound) break;
    running = next.map((one) => ({ ...one, ...extend(one.token, one.cache) }));
  }
  const cut = running.map((one) => ({ ...one, score: one.score / cutPenalty }));
  return [...finished, ...cut].slice(0, results);
}

/** Returns the best continuations of a hypothesis by one piece; of equals, that of the lower id comes first. */
function continuations({ tokens, score, logits, cache }, origin, count) {
  const logs = logSoftmax(logits);
  return top(logs, count).map((token) => ({ tokens: [...tokens, token], token, origin, score: score + logs[token], cache }));
}

/** Returns the ids of the greatest values, the greatest first, but never PAD and BOS. */
export function top(values, count) {
  const found = [];
  for (let id = 0; id < values.length; id++) {
    if (id === PAD || id === BOS || (found.length === count && values[id] <= values[found.at(-1)])) continue;
    let place = found.length;
    while (place > 0 && values[id] > values[found[place - 1]]) place--;
    found.splice(place, 0, id);
    if (found.length > count) found.pop();
  }
  return found;
}

const best = (hypotheses, count) => [...hypotheses].sort((a, b) => b.score - a.score).slice(0, count);
