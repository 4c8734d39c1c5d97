// What if: draw instead of taking the likeliest, break a part of the model, or count instead of thinking.
//
// `controls` are made once, so that a slider that is held stays; `figures` are drawn anew with every thought.

import { choice, h, press, slider, tick } from "./dom.js";
import { bars } from "./draw.js";
import { filtered } from "./sampling.js";

export const whatIfControls = {
  sampling: ({ t, state, set, ask }) => [
    slider(t.ui.temperature, { key: "temperature", min: 0, max: 2, step: 0.05, value: state.temperature, shown: (v) => v.toFixed(2) }, (temperature) => set({ temperature })),
    slider("top-k", { key: "topK", min: 1, max: 50, step: 1, value: state.topK, shown: (v) => (v >= 50 ? t.ui.all : String(v)) }, (topK) => set({ topK })),
    slider("top-p", { key: "topP", min: 0.05, max: 1, step: 0.05, value: state.topP, shown: (v) => v.toFixed(2) }, (topP) => set({ topP })),
    press(t.ui.draw, "draw", () => ask("sample")),
  ],

  breaking: ({ t, state, set, model }) => {
    const heads = (stack, kind, layers, words) => [...Array(layers).keys()].map((layer) =>
      h("fieldset", {}, h("legend", {}, words(layer + 1)),
        [...Array(model.num_heads).keys()].map((head) => {
          const one = `${stack}_${layer}/${kind}_attention/${head}`;
          return tick(String(head + 1), one, !state.off.has(one), (on) => {
            const off = new Set(state.off);
            if (on) off.delete(one);
            else off.add(one);
            set({ off });
          });
        })));
    const translates = model.architecture === "encoder_decoder";
    return [
      tick(t.ui.positionsOn, "positions", state.positions, (positions) => set({ positions })),
      tick(t.ui.maskOn, "mask", state.mask, (mask) => set({ mask })),
      press(t.ui.swap, "swap", () => set({ text: swapped(state.text) })),
      h("details", {}, h("summary", {}, t.ui.headsOn), h("div", { class: "heads-off" },
        translates && heads("encoder", "self", model.num_layers, t.ui.encoderAttention),
        heads("decoder", "self", model.decoder_layers, t.ui.decoderAttention),
        translates && heads("decoder", "cross", model.decoder_layers, t.ui.crossAttention))),
    ];
  },
};

export const whatIfFigures = {
  sampling(look) {
    const { thought, state, t } = look, topK = state.topK >= 50 ? Infinity : state.topK;
    const before = filtered(thought.logits[state.at]), after = filtered(thought.logits[state.at], { ...state, topK });
    const entries = look.likeliest(state.at, 8).map(({ id, name }) => ({ name, share: after[id], ghost: before[id] }));
    return [positionChoice(look), h("p", { class: "note" }, t.ui.ghost(look.outputNames[state.at])), bars(t.ui.next, entries, { key: "sampling" }),
      look.drawn && h("ol", { class: "drawn" }, look.drawn.texts.map((text) => h("li", { class: "written", dir: "auto" }, text)))];
  },

  breaking({ thought, t, state }) {
    const { plain, output } = thought;
    const broken = state.off.size || !state.positions || !state.mask;
    if (!plain) return h("p", { class: "note" }, t.ui.whole);
    return h("dl", { class: "compare" },
      h("dt", {}, t.ui.unbroken), h("dd", { class: "written", dir: "auto" }, plain.output),
      h("dt", {}, broken ? t.ui.broken : t.ui.turned), h("dd", { class: "written", dir: "auto" }, output),
      broken && [h("dt", {}, t.ui.belief), h("dd", {}, t.ui.logs(plain.before, plain.now))]);
  },

  markov(look) {
    const { thought, state, t } = look;
    const context = (order) => look.inputNames.slice(Math.max(0, state.at + 1 - order), state.at + 1).join(" ");
    const chain = (order) => {
      const found = thought.chains[order - 1][state.at].map(([id, share]) => ({ name: look.name(id), share }));
      return h("div", {}, h("h4", {}, t.ui.chain(order), " ", h("small", {}, context(order))),
        found.length ? bars(t.ui.chain(order), found.slice(0, 6), { key: `chain${order}` }) : h("p", { class: "note" }, t.ui.never));
    };
    return [positionChoice(look), h("div", { class: "columns" },
      h("div", {}, h("h4", {}, t.ui.transformer, " ", h("small", {}, t.ui.seesAll)), bars(t.ui.transformer, look.likeliest(state.at, 6), { key: "transformer" })),
      chain(1), chain(2))];
  },
};

/** Returns the pieces of the output, to choose a place by. */
export const positionChoice = ({ t, state, set, stop, outputNames }) =>
  choice(t.ui.position, outputNames, state.at, (at) => set({ at }), { key: `at-${stop}`, class: "pieces" });

/** Returns a text in which two neighbours in its middle are exchanged. */
function swapped(text) {
  const words = text.split(" ");
  const at = words.length > 2 ? 1 + Math.floor((words.length - 2) / 2) : 0;
  if (words.length > 1) [words[at], words[at + 1]] = [words[at + 1], words[at]];
  return words.join(" ");
}
