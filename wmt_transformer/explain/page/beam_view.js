// The beam, drawn while it grows: a column a step, a node a continuation; what is pruned stays small and grey.

import { h, number, press, slider, svg } from "./dom.js";
import { lengthPenalty } from "./beam.js";

const COLUMN = 92, ROW = 36, TOP = 14;

export const beamControls = ({ t, state, set, grow }) => [
  slider(t.ui.width, { key: "width", min: 1, max: 8, step: 1, value: state.width }, (width) => set({ width })),
  slider("α", { key: "alpha", min: 0, max: 2, step: 0.1, value: state.alpha, shown: (v) => v.toFixed(1) }, (alpha) => set({ alpha })),
  press(t.ui.grow, "grow", grow),
];

/** Returns the drawing of the first `shown` steps, and the table of what was found. */
export function beamFigure({ found, name, t }, shown = Infinity) {
  const steps = found.steps.slice(0, shown), rows = Math.max(...found.steps.map((step) => step.length));
  const running = [[{ y: TOP + ROW / 2 }]]; // of each step, where the hypotheses are that run on
  const drawing = svg("svg", { width: steps.length * COLUMN + 40, height: rows * ROW + 2 * TOP, class: "beam", role: "img", "aria-label": t.ui.beamLabel(steps.length) });
  steps.forEach((candidates, step) => {
    const x = step * COLUMN + 40, next = [];
    candidates.forEach((one, rank) => {
      const y = TOP + (rank + 0.5) * ROW, from = running[step][one.origin];
      if (one.fate === "runs") next.push({ y });
      const startX = step ? x - COLUMN + 64 : 12;
      drawing.append(svg("path", { class: `branch ${one.fate}`, d: `M${startX} ${from.y}C${startX + 22} ${from.y} ${x - 24} ${y} ${x - 2} ${y}` }));
      const title = `${name(one.token)} · log P ${number(one.score)}${one.final === undefined ? "" : ` · ${number(one.final)}`}`;
      drawing.append(svg("g", { class: `node ${one.fate}` }, svg("title", {}, title),
        svg("rect", { x: x - 2, y: y - 15, width: 66, height: 30, rx: 5 }),
        svg("text", { x: x + 31, y: y - 4, "font-size": 11 }, shortened(name(one.token))),
        svg("text", { class: "score", x: x + 31, y: y + 8, "font-size": 9.5 }, number(one.final ?? one.score))));
    });
    running.push(next);
  });
  const legend = ["runs", "ended", "pruned"].map((fate) => h("span", { class: `legend ${fate}` }, t.ui[fate]));
  return [h("p", { class: "note" }, legend), h("div", { class: "scroll", tabindex: 0 }, drawing), shown >= found.steps.length && results(found, t)];
}

const shortened = (text) => (text.length > 10 ? `${text.slice(0, 9)}…` : text);

function results({ results, alpha, plain }, t) {
  const lines = results.map((one) => {
    const length = one.tokens.length, penalty = lengthPenalty(length, alpha);
    return h("tr", {}, h("td", { class: "written", dir: "auto" }, one.text), h("td", {}, number(one.score * penalty)), h("td", {}, String(length)), h("td", {}, number(penalty)), h("td", {}, number(one.score, 3)));
  });
  const same = plain === results[0].text;
  return [h("div", { class: "scroll" }, h("table", { class: "results" }, h("thead", {}, h("tr", {}, t.ui.resultColumns.map((one) => h("th", {}, one)))), h("tbody", {}, lines))),
    h("p", { class: "note" }, alpha === 0 ? t.ui.noPenalty : same ? t.ui.penaltySame : t.ui.penaltyOther(plain))];
}
