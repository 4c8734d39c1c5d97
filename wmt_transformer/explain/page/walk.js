// The walk through the model, in the order of figure 1: each stop draws the very numbers of the reader's text.
//
// `look` is what every stop is given: the thought (what the model computed), the reader's place (which piece, layer,
// head), the words of the language, and `set` to change the place.

import { choice, h, number, percent } from "./dom.js";
import { positionChoice } from "./whatif.js";
import { bars, grid, matrix, thumbnail, vector } from "./draw.js";

const range = (count) => [...Array(count).keys()];

/** Returns the stack that a stop looks at: the encoder with the source's pieces, or the decoder with the target's. */
const side = (look, decoder) => decoder || !look.thought.source
  ? { stack: "decoder", view: "target", names: look.inputNames, place: "at", layers: look.model.decoder_layers }
  : { stack: "encoder", view: "source", names: look.sourceNames, place: "src", layers: look.model.num_layers };

const pieceChoice = (look, { names, place }) =>
  choice(look.t.ui.piece, names, look.state[place], (i) => look.set({ [place]: i }), { key: `${place}${look.stop}`, class: "pieces" });

const layerChoice = (look, { layers }) => layers > 1 && h("div", { class: "line" }, h("span", {}, look.t.ui.layer),
  choice(look.t.ui.layer, range(layers).map((i) => String(i + 1)), Math.min(look.state.layer, layers - 1), (layer) => look.set({ layer }), { key: `layer${look.stop}` }));

const layerOf = (look, { layers }) => Math.min(look.state.layer, layers - 1);

function headChoice(look, weights) {
  const names = weights.map((rows, head) => [thumbnail(`${look.t.ui.head} ${head + 1}`, rows), h("span", {}, String(head + 1))]);
  return h("div", { class: "line" }, h("span", {}, look.t.ui.head), choice(look.t.ui.head, names, look.state.head, (head) => look.set({ head }), { key: `head${look.stop}`, class: "heads" }));
}

export const figures = {
  pieces(look) {
    const { thought, sourceNames, inputNames } = look;
    const [names, ids] = thought.source ? [sourceNames, thought.source] : [inputNames, thought.inputs];
    return h("div", { class: "tokens" }, names.map((name, i) => h("span", { class: "token" }, h("b", {}, name), h("small", {}, String(ids[i])))));
  },

  embed: (look) => embedding(look, side(look, false)),
  shifted: (look) => embedding(look, side(look, true)),

  projections(look) {
    const where = side(look, false), name = `${where.stack}_${layerOf(look, where)}/self_attention`, at = look.state[where.place];
    const { d_k, d_v } = look.model, { seen } = look.thought, head = look.state.head;
    const part = (kind, width) => seen[`${name}/${kind}`][at].subarray(head * width, (head + 1) * width);
    return [pieceChoice(look, where), layerChoice(look, where), headChoice(look, seen[`${name}/attention_weights`]),
      vector(look.t.ui.query, part("query", d_k)), vector(look.t.ui.key, part("key", d_k)), vector(look.t.ui.value, part("value", d_v))];
  },

  attention: (look) => attending(look, side(look, false), "self_attention"),
  masked: (look) => attending(look, side(look, true), "self_attention"),
  cross: (look) => attending(look, side(look, true), "cross_attention"),

  norm(look) {
    const where = side(look, false), name = `${where.stack}_${layerOf(look, where)}/self_attention`, at = look.state[where.place];
    const { seen } = look.thought, post = look.model.norm_position === "post";
    const sum = seen[`${name}_residual/sum`][at], out = seen[`${name}_residual/norm`][at];
    const spread = (row) => {
      const mean = row.reduce((a, v) => a + v, 0) / row.length;
      return look.t.ui.spread(number(mean), number(Math.sqrt(row.reduce((a, v) => a + (v - mean) ** 2, 0) / row.length)));
    };
    return [pieceChoice(look, where), layerChoice(look, where),
      vector(look.t.ui.sublayer, seen[name][at]), vector(look.t.ui.sum, sum), h("p", { class: "note" }, spread(sum)),
      vector(post ? look.t.ui.normed : look.t.ui.normedBefore, out), h("p", { class: "note" }, spread(out))];
  },

  feedforward: (look) => firing(look, side(look, false)),
  decoder_feedforward: (look) => firing(look, side(look, true)),

  probabilities(look) {
    const { thought, state, t } = look, at = state.at, entries = look.likeliest(at, 10);
    const mine = thought.outputs[at], written = at >= thought.prompt;
    return [
      positionChoice(look),
      h("p", { class: "note" }, t.ui.after(`${at > 5 ? "… " : ""}${look.inputNames.slice(Math.max(0, at - 5), at + 1).join(" ")}`)),
      bars(t.ui.next, entries, {
        chosen: entries.findIndex((one) => one.id === mine), key: "next",
        pick: written ? (i) => look.set({ forced: [...thought.outputs.slice(thought.prompt, at), entries[i].id] }) : undefined,
      }),
      h("p", { class: "note" }, written ? t.ui.choose : t.ui.given),
    ];
  },
};

function embedding(look, where) {
  const { seen } = look.thought, at = look.state[where.place], { t } = look;
  return [pieceChoice(look, where),
    vector(t.ui.word, seen[`${where.view}/word`][at]), vector(t.ui.place(at), seen[`${where.view}/position`][at]),
    vector(look.state.positions ? t.ui.both : t.ui.withoutPlace, seen[`${where.view}/embedding`][at]),
    h("p", { class: "note" }, t.ui.allPositions), grid(t.ui.allPositions, seen[`${where.view}/position`])];
}

function attending(look, where, kind) {
  const { seen } = look.thought, { t, state } = look, name = `${where.stack}_${layerOf(look, where)}/${kind}`;
  const weights = seen[`${name}/attention_weights`], scores = seen[`${name}/scores`][state.head], at = state[where.place];
  const keys = kind === "cross_attention" ? look.sourceNames : where.names, rows = weights[state.head];
  const drawn = rows.map((row, t) => row.map((share, s) => (scores[t][s] === -Infinity ? -Infinity : share))); // masked
  const order = range(keys.length).filter((s) => scores[at][s] !== -Infinity).sort((a, b) => rows[at][b] - rows[at][a]).slice(0, 6);
  const line = (s) => h("tr", {}, h("td", {}, keys[s]), h("td", {}, number(scores[at][s])), h("td", {}, number(rows[at][s], 4)));
  return [pieceChoice(look, where), layerChoice(look, where), headChoice(look, weights),
    h("div", { class: "pair" },
      matrix(t.ui.weights(state.head + 1), drawn, where.names, keys, { chosen: at, pick: (i) => look.set({ [where.place]: i }) }),
      h("div", {},
        h("p", { class: "note" }, t.ui.looks(where.names[at])),
        bars(t.ui.looks(where.names[at]), order.map((s) => ({ name: keys[s], share: rows[at][s] })), { key: `look${look.stop}` }),
        h("details", {}, h("summary", {}, t.ui.numbers), h("table", {}, h("thead", {}, h("tr", {}, t.ui.columns.map((one) => h("th", {}, one)))),
          h("tbody", {}, range(keys.length).map(line))))))];
}

function firing(look, where) {
  const layer = layerOf(look, where), at = look.state[where.place], { t } = look;
  const active = look.thought.seen[`${where.stack}_${layer}/feed_forward/active`];
  const fires = (row) => row.reduce((count, v) => count + (v > 0), 0), width = active[0].length;
  const all = active.reduce((count, row) => count + fires(row), 0) / (active.length * width);
  return [pieceChoice(look, where), layerChoice(look, where),
    vector(t.ui.hidden, active[at]),
    h("p", { class: "note" }, t.ui.fires(fires(active[at]), width, where.names[at], percent(all))),
    grid(t.ui.hiddenAll, active)];
}
