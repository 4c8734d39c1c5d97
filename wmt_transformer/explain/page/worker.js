// The model at work, beside the page: it reads a text, writes greedily, and tells everything that it computed.
//
// The page sends questions {kind, number, …}; only the newest of each kind is answered. Long work (a beam, many
// pieces) stops every few milliseconds to look for a newer question, so that no sentence holds up the next one.

import { Pieces } from "./pieces.js";
import { unpacked } from "./weights.js";
import { Transformer, logSoftmax } from "./model.js";
import { BOS, EOS, search, top } from "./beam.js";
import { drawn, filtered, randomNumbers } from "./sampling.js";
import { Chain } from "./markov.js";
import { gathering } from "./seen.js";

const CONTINUATION = 24; // pieces that a language model writes at most
const PATIENCE = 30; // milliseconds of work before a look at the questions, which takes 4: browsers wait so long

let run, pieces, weights, chains, newest = {};

const answers = { think, beam, sample };

self.onmessage = async ({ data: question }) => {
  if (question.kind === "load") return load(question);
  newest[question.kind] = question.number;
  try {
    for await (const answer of answers[question.kind](question, turn(question)))
      self.postMessage({ kind: question.kind, number: question.number, ...answer });
  } catch (error) {
    if (error !== OUTDATED) self.postMessage({ kind: "failed", text: String(error?.stack ?? error) });
  }
};

const OUTDATED = Symbol("a newer question has come");

/** Returns a function to call again and again while working on a question: it lets newer ones in, and then throws. */
function turn({ kind, number }) {
  let since = performance.now();
  return async () => {
    if (performance.now() - since < PATIENCE) return;
    await new Promise((done) => setTimeout(done));
    if (newest[kind] !== number) throw OUTDATED;
    since = performance.now();
  };
}

function load(given) {
  run = given.run;
  pieces = new Pieces(run.vocabulary);
  weights = unpacked(given.weights, run.tensors);
  const sample = new Uint16Array(given.sample);
  chains = sample.length ? [1, 2].map((order) => new Chain(sample, order)) : [];
  self.postMessage({ kind: "loaded" });
}

/** A text as the model reads it: a source for the encoder, or a language model's beginning. */
class Reading {
  constructor(text, changes = {}) {
    this.translates = run.model.architecture === "encoder_decoder";
    this.model = new Transformer(run.model, weights, changes);
    const all = pieces.encode(text), most = Math.min(run.longest, MOST);
    if (this.translates) {
      this.source = [...all.slice(0, most - 1), EOS];
      const positions = run.model.positions === "learned" ? run.model.max_positions : Infinity;
      [this.prompt, this.limit] = [[], Math.min(this.source.length + run.decode.extra_length, positions)];
    } else {
      this.source = null;
      this.prompt = all.slice(-Math.max(most >> 1, most - CONTINUATION)); // so that there is room to go on
      this.limit = Math.min(CONTINUATION, most - this.prompt.length);
    }
    this.left = Math.max(0, all.length - (this.translates ? this.source.length - 1 : this.prompt.length)); // too many
  }

  /** Returns the decoder's state before anything is written. */
  start(see) {
    this.encoded ??= this.source && this.model.encode(this.source, see);
    return this.model.start(this.encoded, see);
  }

  /** Returns {logits, cache} after the beginning, from which a search goes on. */
  begun(see) {
    const { logits, cache } = this.model.extend([BOS, ...this.prompt], this.start(see), see);
    return { logits: logits.at(-1), cache };
  }

  next(id, cache, see) {
    const after = this.model.extend([id], cache, see);
    return { logits: after.logits[0], cache: after.cache };
  }

  /** Returns the ids that are written after the beginning: `forced` ones first, then what `choose(logits)` chooses. */
  async written(choose, forced, pause, see) {
    let { logits, cache } = this.begun(see);
    const tokens = [];
    for (;;) {
      await pause();
      tokens.push(forced[tokens.length] ?? choose(logits));
      if (tokens.length >= this.limit || tokens.at(-1) === EOS) return tokens;
      ({ logits, cache } = this.next(tokens.at(-1), cache, see));
    }
  }

  text(tokens) {
    return pieces.decode(this.translates ? tokens : [...this.prompt, ...tokens]);
  }
}

const MOST = 96; // pieces that a picture has room for

const greedy = (logits) => top(logits, 1)[0];

/** Answers with everything that the model computes of a text and of what it writes. */
async function* think({ text, forced, changes }, pause) {
  const reading = new Reading(text, changes), { see, gathered } = gathering();
  const tokens = await reading.written(greedy, forced, pause, see);
  const outputs = [...reading.prompt, ...tokens], inputs = [BOS, ...outputs.slice(0, -1)], seen = gathered();
  // Without its mask the decoder sees what comes later, once that is written: it reads the whole again.
  if (!changes.mask) reading.model.extend(inputs, reading.start(), (name, rows) => (seen[name] = rows));
  const answer = {
    seen, logits: seen.logits, source: reading.source, inputs, outputs, prompt: reading.prompt.length, left: reading.left,
    output: reading.text(tokens), chains: chains.map((chain) => inputs.map((_, t) => chain.next(outputs.slice(0, t)).slice(0, 8))),
  };
  const changed = changes.off.size || !changes.positions || !changes.mask;
  yield { ...answer, plain: forced.length || changed ? await plain(text, reading, pause) : null };
}

/** Returns what the unbroken model writes, and its log-probability there and here. */
async function plain(text, broken, pause) {
  const whole = new Reading(text), tokens = await whole.written(greedy, [], pause);
  const logProbability = (reading) => {
    const outputs = [...reading.prompt, ...tokens];
    const { logits } = reading.model.extend([BOS, ...outputs.slice(0, -1)], reading.start());
    return tokens.reduce((a, id, t) => a + logSoftmax(logits[reading.prompt.length + t])[id], 0);
  };
  return { output: whole.text(tokens), before: logProbability(whole), now: logProbability(broken) };
}

/** Answers with the steps of a beam search, all of them so far after each few, and at last with its results. */
async function* beam({ text, changes, width, alpha }, pause) {
  const grown = async (alpha, steps) => {
    const reading = new Reading(text, changes);
    const growing = search(reading.begun(), (id, cache) => reading.next(id, cache), { width, alpha, limit: reading.limit });
    for (;;) {
      await pause();
      const { done, value } = growing.next();
      if (done) return value.map((one) => ({ tokens: one.tokens, score: one.score, text: reading.text(one.tokens) }));
      steps.push(drawable(value));
    }
  };
  const steps = [];
  const results = await grown(alpha, steps);
  yield { steps, results, width, alpha, plain: alpha ? (await grown(0, []))[0].text : results[0].text };
}

const drawable = ({ candidates }) =>
  candidates.map(({ token, origin, score, fate, final }) => ({ token, origin, score, fate, final }));

/** Answers with texts that were drawn at random. */
async function* sample({ text, changes, filters, seed, count }, pause) {
  const reading = new Reading(text, changes), random = randomNumbers(seed), texts = [];
  for (let i = 0; i < count; i++) {
    const tokens = await reading.written((logits) => drawn(filtered(logits, filters), random()), [], pause);
    texts.push(reading.text(tokens));
  }
  yield { texts };
}
