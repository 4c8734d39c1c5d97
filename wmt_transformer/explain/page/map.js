// Figure 1 of the paper as the page's map: a click goes to a part, and the reader's place is marked.

import { svg } from "./dom.js";

// [stop, x, y, width, height], from bottom to top; the encoder on the left.
const TRANSLATOR = {
  size: [300, 470],
  frames: [[14, 196, 122, 172], [162, 106, 124, 262]],
  boxes: [
    ["pieces", 26, 434, 98, 26], ["embed", 26, 392, 98, 28],
    ["projections", 26, 336, 98, 26], ["attention", 26, 306, 98, 28], ["norm", 26, 276, 98, 20], ["feedforward", 26, 228, 98, 28], [null, 26, 202, 98, 18],
    ["shifted", 174, 392, 98, 28], ["masked", 174, 318, 98, 36], [null, 174, 292, 98, 18], ["cross", 174, 238, 98, 36], [null, 174, 212, 98, 18],
    ["decoder_feedforward", 174, 146, 98, 36], [null, 174, 114, 98, 20],
    ["probabilities", 174, 62, 98, 32], ["sampling", 174, 24, 46, 26], ["beam", 226, 24, 46, 26],
    ["breaking", 14, 24, 58, 26], ["markov", 78, 24, 58, 26],
  ],
  lines: ["M75 434V420", "M75 392V362", "M75 202V182H150V256H174", "M223 434V420", "M223 392V354", "M223 318V310", "M223 292V274", "M223 238V230", "M223 212V182", "M223 146V134", "M223 114V94", "M223 62V50", "M75 276V256", "M75 228V220"],
  notes: [[0, 290, "N×"], [294, 240, "N×"]],
};
const LANGUAGE_MODEL = {
  size: [300, 410],
  frames: [[80, 128, 140, 186]],
  boxes: [
    ["pieces", 95, 374, 110, 26], ["embed", 95, 332, 110, 28],
    ["projections", 95, 280, 110, 26], ["masked", 95, 244, 110, 34], ["norm", 95, 214, 110, 20], ["feedforward", 95, 166, 110, 32], [null, 95, 138, 110, 18],
    ["probabilities", 95, 76, 110, 32], ["sampling", 95, 36, 52, 26], ["beam", 153, 36, 52, 26],
    ["breaking", 22, 36, 62, 26], ["markov", 216, 36, 62, 26],
  ],
  lines: ["M150 374V360", "M150 332V306", "M150 244V234", "M150 214V198", "M150 166V156", "M150 138V108", "M150 76V62"],
  notes: [[66, 226, "N×"]],
};

/** Returns the drawing of the stops that are `present`; `go(stop)` is called on a click. */
export function drawnMap(translates, present, t, go) {
  const plan = translates ? TRANSLATOR : LANGUAGE_MODEL;
  const box = ([stop, x, y, width, height]) => {
    const middle = [x + width / 2, y + height / 2];
    const words = stop ? t.stops[stop].short : t.ui.addNorm;
    const lines = words.split("\n");
    const text = lines.map((line, i) =>
      svg("text", { x: middle[0], y: middle[1] + (i - (lines.length - 1) / 2) * 12, "font-size": 10 }, line));
    const shape = svg("rect", { x, y, width, height, rx: 5 });
    if (!stop) return svg("g", { class: "still" }, shape, text);
    const link = svg("a", { href: `#${stop}`, class: `box ${stop}`, "data-stop": stop, "aria-label": t.stops[stop].title }, shape, text);
    link.addEventListener("click", (event) => { event.preventDefault(); go(stop); });
    return link;
  };
  const arrow = svg("marker", { id: "arrow", viewBox: "0 0 6 6", refX: 5, refY: 3, markerWidth: 5, markerHeight: 5, orient: "auto" },
    svg("path", { d: "M0 0L6 3L0 6z" }));
  return svg("svg", { viewBox: `-14 0 ${plan.size[0] + 18} ${plan.size[1]}`, preserveAspectRatio: "xMidYMin", role: "group", "aria-label": t.ui.map },
    svg("defs", {}, arrow),
    plan.frames.map(([x, y, width, height]) => svg("rect", { class: "frame", x, y, width, height, rx: 9 })),
    plan.lines.map((d) => svg("path", { class: "line", d, "marker-end": "url(#arrow)" })),
    plan.notes.map(([x, y, words]) => svg("text", { class: "times", x, y, "font-size": 10 }, words)),
    plan.boxes.filter(([stop]) => !stop || present.includes(stop)).map(box));
}

/** Marks the reader's place. */
export function mark(map, stop) {
  for (const link of map.querySelectorAll("[data-stop]")) {
    if (link.dataset.stop === stop) link.setAttribute("aria-current", "location");
    else link.removeAttribute("aria-current");
  }
}
