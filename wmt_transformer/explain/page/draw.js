// Numbers as pictures: vectors as strips, matrices as grids, probabilities as bars.
//
// Below zero is blue, above zero orange (the colour-blind tell them apart), and the deeper the colour the larger the
// number; a share from 0 to 1 goes from the paper's colour to deep blue-green. Every picture has its numbers in words.

import { h, number, percent } from "./dom.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Returns a canvas of `width` x `height` CSS pixels on which `paint(context)` has drawn. */
function canvas(width, height, label, paint, props = {}) {
  const dots = window.devicePixelRatio || 1;
  const made = h("canvas", { width: Math.round(width * dots), height: Math.round(height * dots), role: "img", "aria-label": label, ...props });
  made.style.cssText = `width:${width}px;height:${height}px`;
  const context = made.getContext("2d");
  context.scale(dots, dots);
  paint(context);
  return made;
}

const greatest = (rows) => rows.reduce((a, row) => row.reduce((b, v) => (Number.isFinite(v) ? Math.max(b, Math.abs(v)) : b), a), 1e-9);

function cells(context, rows, left, top, width, height, kind) {
  const most = kind === "share" ? 1 : greatest(rows);
  const [low, high, share, hidden] = ["--low", "--high", "--share", "--hidden"].map(colour);
  const gap = width > 7 ? 1 : 0;
  rows.forEach((row, y) => row.forEach((value, x) => {
    context.fillStyle = value === -Infinity ? hidden : kind === "share" ? share : value < 0 ? low : high;
    context.globalAlpha = value === -Infinity ? 1 : Math.min(1, Math.abs(value) / most) ** 0.75;
    context.fillRect(left + x * width, top + y * height, width - gap, height - gap);
  }));
  context.globalAlpha = 1;
}

/** Returns a vector as a strip, with its first numbers. */
export function vector(name, values, note = "") {
  const width = Math.max(1, Math.min(8, Math.floor(264 / values.length)));
  const columns = Math.min(values.length, Math.floor(264 / width)), rows = [];
  for (let at = 0; at < values.length; at += columns) rows.push([...values.subarray(at, at + columns)]);
  const first = [...values.subarray(0, 4)].map((v) => number(v)).join("  ");
  const picture = canvas(columns * width, rows.length * 12, `${name}: ${first} …`, (context) => cells(context, rows, 0, 0, width, 12), { class: "strip" });
  return h("figure", { class: "vector" }, h("figcaption", {}, name),
    picture, h("span", { class: "numbers" }, `[${first}  …]`, h("small", {}, ` ${values.length}${note}`)));
}

/** Returns a matrix [row][column] as a grid with its names; row `chosen` is marked, and a click on a row picks it. */
export function matrix(label, rows, rowNames, columnNames, { kind = "share", chosen = -1, pick } = {}) {
  const measure = document.createElement("canvas").getContext("2d");
  const longest = (names) => Math.min(96, Math.max(...names.map((name) => measure.measureText(name).width))) + 8;
  const letters = (size) => `${size}px system-ui, sans-serif`;
  measure.font = letters(12);
  const room = Math.min(440, innerWidth - longest(rowNames) - 66); // 66: the padding beside it where the page is narrow
  const size = Math.max(9, Math.min(24, Math.floor(room / columnNames.length)));
  const font = (measure.font = letters(Math.min(12, Math.max(8, size - 3))));
  const left = longest(rowNames), top = longest(columnNames);
  const made = canvas(left + columnNames.length * size + 2, top + rowNames.length * size + 2, label, (context) => {
    cells(context, rows, left, top, size, size, kind);
    context.font = font;
    context.fillStyle = colour("--ink");
    context.textBaseline = "middle";
    context.textAlign = "right";
    rowNames.forEach((name, y) => context.fillText(name, left - 5, top + (y + 0.5) * size, left - 6));
    context.textAlign = "left";
    columnNames.forEach((name, x) => {
      context.save();
      context.translate(left + (x + 0.5) * size, top - 4);
      context.rotate(-Math.PI / 2);
      context.fillText(name, 0, 0, top - 6);
      context.restore();
    });
    context.strokeStyle = colour("--rule");
    context.strokeRect(left - 1, top - 1, columnNames.length * size + 1, rowNames.length * size + 1);
    context.strokeStyle = colour("--accent");
    context.lineWidth = 2;
    if (chosen >= 0) context.strokeRect(left - 1, top + chosen * size - 1, columnNames.length * size + 1, size + 1);
  });
  if (pick) {
    made.style.cursor = "pointer";
    made.addEventListener("click", (event) => {
      const y = Math.floor((event.offsetY - top) / size);
      if (y >= 0 && y < rowNames.length) pick(y);
    });
  }
  return h("div", { class: "scroll" }, made);
}

/** Returns a small grid without names, for a button. */
export function thumbnail(label, rows) {
  const size = Math.max(1, Math.min(8, Math.floor(72 / Math.max(rows.length, rows[0].length))));
  return canvas(rows[0].length * size, rows.length * size, label, (context) => cells(context, rows, 0, 0, size, size, "share"));
}

/** Returns many rows as a grid without names, as wide as there is room. */
export function grid(label, rows, kind) {
  const width = Math.max(1, Math.min(6, Math.floor(512 / rows[0].length))), height = Math.max(3, Math.min(12, Math.floor(240 / rows.length)));
  return h("div", { class: "scroll" }, canvas(rows[0].length * width, rows.length * height, label, (context) => cells(context, rows, 0, 0, width, height, kind), { class: "strip" }));
}

/** Returns [name, share, …] entries as bars; with `pick`, each is a button. `ghost` is a share to compare with. */
export function bars(label, entries, { pick, chosen = -1, key = label } = {}) {
  const rows = entries.map(({ name, share, ghost }, i) => {
    const inside = [
      h("span", { class: "name" }, name),
      h("span", { class: "track" }, ghost === undefined ? null : h("span", { class: "ghost", style: `width:${100 * ghost}%` }),
        h("span", { class: "bar", style: `width:${100 * share}%` })),
      h("span", { class: "share" }, percent(share)),
    ];
    return pick
      ? h("button", { type: "button", class: "row", "aria-pressed": String(i === chosen), "data-key": `${key}/${i}`, onclick: () => pick(i) }, inside)
      : h("div", { class: `row${i === chosen ? " chosen" : ""}` }, inside);
  });
  return h("div", { class: "bars", role: "group", "aria-label": label }, rows);
}
