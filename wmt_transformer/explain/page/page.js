// The page: what the reader chose (`state`), what the model computed (`thought`), and the stops drawn from both.

import { en } from "./text_en.js";
import { zh } from "./text_zh.js";
import { choice, h, press } from "./dom.js";
import { formula } from "./formulas.js";
import { drawnMap, mark } from "./map.js";
import { figures } from "./walk.js";
import { whatIfControls, whatIfFigures } from "./whatif.js";
import { beamControls, beamFigure } from "./beam_view.js";
import { logSoftmax } from "./model.js";
import { top } from "./beam.js";

const byId = (id) => document.getElementById(id);
const run = JSON.parse(byId("run").textContent);
const translates = run.model.architecture === "encoder_decoder";
const STOPS = translates
  ? ["pieces", "embed", "projections", "attention", "norm", "feedforward", "shifted", "masked", "cross", "decoder_feedforward", "probabilities", "sampling", "beam", "breaking", "markov"]
  : ["pieces", "embed", "projections", "masked", "norm", "feedforward", "probabilities", "sampling", "beam", "breaking", "markov"];
const FORMULAS = {
  attention: ["attention"], masked: ["masked"], cross: ["cross"], norm: [run.model.norm_position === "post" ? "norm" : "preNorm"],
  embed: run.model.positions === "sinusoidal" ? ["embed", "sinusoid"] : ["embed"], shifted: ["embed"], breaking: [], sampling: ["sample"],
  feedforward: [run.model.activation === "relu" ? "relu" : "ffn"], decoder_feedforward: [run.model.activation === "relu" ? "relu" : "ffn"],
};

const state = {
  language: run.language, text: run.examples[0] ?? "", forced: [], off: new Set(), positions: true, mask: true,
  at: 0, src: 0, layer: 0, head: 0, temperature: 1, topK: 50, topP: 1, width: run.decode.beam_size, alpha: run.decode.alpha,
};
const THOUGHT_OF = ["text", "forced", "off", "positions", "mask"];
const sections = new Map(); // stop → {section, figure}
let thought, beam, drawnTexts, worker, asked = 0, place = STOPS[0], growing, fresh = true;

const bytesOf = (id) => Uint8Array.from(atob(byId(id).textContent.trim()), (one) => one.charCodeAt(0)).buffer;

function start() {
  if (!window.Worker || !window.Blob || !("noModule" in HTMLScriptElement.prototype) || !Array.prototype.at) return fail(t().ui.old);
  try {
    worker = new Worker(URL.createObjectURL(new Blob([byId("thinking").textContent], { type: "text/javascript" })));
  } catch (error) {
    return fail(`${t().ui.old} (${error.message})`);
  }
  worker.onerror = (event) => fail(`${t().ui.old} (${event.message})`);
  worker.onmessage = ({ data }) => answered(data);
  const weights = bytesOf("weights"), sample = bytesOf("sample");
  worker.postMessage({ kind: "load", run, weights, sample }, [weights, sample]);
  build();
  think();
}

const t = () => ({ en, zh })[state.language];
const fail = (text) => Object.assign(byId("failure"), { hidden: false, textContent: text });

// ---- Questions and answers

const numbers = {};

function ask(kind, more = {}) {
  numbers[kind] = ++asked;
  const { text, off, positions, mask } = state;
  worker.postMessage({ kind, number: asked, text, changes: { off, positions, mask }, ...more });
}

const think = () => ask("think", { forced: state.forced });

function askForBeam() {
  ask("beam", { width: state.width, alpha: state.alpha });
  sections.get("beam").figure.setAttribute("aria-busy", "true"); // what it shows is of another text or setting
}

const timers = {};
function later(name, act, wait) {
  clearTimeout(timers[name]);
  timers[name] = setTimeout(act, wait);
}

function answered(answer) {
  if (answer.kind === "failed") return fail(answer.text);
  if (answer.kind === "loaded" || answer.number !== numbers[answer.kind]) return;
  if (answer.kind === "think") {
    thought = answer;
    drawnTexts = undefined;
    // A language model's reader stands where it goes on.
    state.at = fresh && !translates ? thought.prompt : Math.min(state.at, thought.outputs.length - 1);
    fresh = false;
    state.src = Math.min(state.src, (thought.source?.length ?? 1) - 1);
    draw();
    askForBeam();
  } else if (answer.kind === "beam") {
    beam = answer;
    drawStop("beam");
    sections.get("beam").figure.removeAttribute("aria-busy");
  } else {
    drawnTexts = answer;
    drawStop("sampling");
  }
}

/** Changes what the reader chose, and does no more anew than depends on it. */
function set(change) {
  if ("text" in change) [change, fresh] = [{ forced: [], ...change }, true];
  Object.assign(state, change);
  if ("text" in change && byId("text").value !== state.text) byId("text").value = state.text;
  const names = Object.keys(change);
  if (names.some((name) => THOUGHT_OF.includes(name))) think();
  else if (names.includes("width") || names.includes("alpha")) askForBeam();
  else draw();
}

// ---- Drawing

const nameOf = (id) => (id === 1 ? t().ui.begin : id === 2 ? t().ui.end : (run.vocabulary.pieces[id] ?? "").replaceAll("\u2581", "␣").replaceAll("\n", "↵"));

function looking(stop) {
  return {
    stop, thought, state, t: t(), set, model: run.model, drawn: drawnTexts, name: nameOf,
    sourceNames: thought.source?.map(nameOf), inputNames: thought.inputs.map(nameOf), outputNames: thought.outputs.map(nameOf),
    likeliest: (at, count) => {
      const logs = logSoftmax(thought.logits[at]);
      return top(logs, count).map((id) => ({ id, name: nameOf(id), share: Math.exp(logs[id]) }));
    },
  };
}

function drawStop(stop) {
  if (!thought || !sections.has(stop)) return;
  const { figure } = sections.get(stop), focused = document.activeElement?.dataset?.key;
  const opened = figure.querySelector("details")?.open;
  let parts;
  if (stop === "beam") parts = beam ? beamFigure({ found: beam, name: nameOf, t: t() }, growing ?? Infinity) : [];
  else parts = (figures[stop] ?? whatIfFigures[stop])(looking(stop));
  figure.replaceChildren(...[parts].flat(9).filter(Boolean));
  if (opened) figure.querySelector("details").open = true;
  if (focused) figure.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

/** Draws what the reader sees, and then, one after the other, what is further away. */
function draw() {
  if (!thought) return;
  byId("output").replaceChildren(...spoken());
  const seen = (stop) => {
    const { top, bottom } = sections.get(stop).section.getBoundingClientRect();
    return top < innerHeight && bottom > 0;
  };
  const stops = [...sections.keys()], visible = stops.filter(seen), rest = stops.filter((stop) => !visible.includes(stop));
  const number = String(thought.number);
  visible.forEach(drawStop);
  document.body.dataset.shown = number; // for who waits for the first picture, or for all of them
  const next = () => {
    if (!rest.length) return (document.body.dataset.drawn = number);
    drawStop(rest.shift());
    timers.rest = setTimeout(next);
  };
  clearTimeout(timers.rest);
  timers.rest = setTimeout(next);
}

/** Returns what the model wrote, and what there is to say of it. */
function spoken() {
  const { ui } = t(), notes = [];
  if (thought.left) notes.push(h("p", { class: "note warning" }, ui.tooLong(thought.left)));
  if (state.forced.length) notes.push(h("p", { class: "note" }, ui.turnedNote, " ", press(ui.undo, "undo", () => set({ forced: [] }))));
  if (state.off.size || !state.positions || !state.mask) notes.push(h("p", { class: "note warning" }, ui.brokenNote, " ", press(ui.mend, "mend", mend)));
  return [h("p", { class: "translation written", dir: "auto", lang: translates ? run.languages[1] : run.languages[0] }, (state.text.trim() || !translates) && thought.output ? thought.output : "—"), ...notes];
}

function mend() {
  set({ off: new Set(), positions: true, mask: true });
  build();
  draw();
}

/** Builds everything that the language changes. */
function build() {
  const { ui, stops } = t();
  document.documentElement.lang = state.language === "zh" ? "zh-Hans" : "en";
  document.title = ui.title;
  byId("title").textContent = ui.title;
  byId("intro").textContent = translates ? ui.introTranslator : ui.introModel;
  byId("ask").textContent = translates ? ui.askTranslator : ui.askModel;
  byId("answer").textContent = translates ? ui.answerTranslator : ui.answerModel;
  const counted = [run.tensors.reduce((a, [, size]) => a + size, 0), run.vocabulary.pieces.length].map((n) => n.toLocaleString(state.language));
  byId("origin").textContent = [ui.origin(run.origin, ...counted, run.precision), run.cost && ui.cost(run.cost)].filter(Boolean).join(" · ");
  byId("languages").replaceChildren(choice(ui.language, ["English", "中文"], ["en", "zh"].indexOf(state.language), (i) => {
    state.language = ["en", "zh"][i];
    build();
    draw();
    byId("languages").querySelector('[aria-pressed="true"]').focus();
  }));
  byId("text").value = state.text;
  byId("examples").replaceChildren(...run.examples.map((text, i) => press(text, `example/${i}`, () => set({ text }), { class: "press example", dir: "auto" })));
  sections.clear();
  const present = STOPS.filter((stop) => stop !== "markov" || byId("sample").textContent.trim());
  byId("map").replaceChildren(h("h2", {}, ui.map), drawnMap(translates, present, t(), go));
  byId("walk").replaceChildren(...present.map((stop, i) => section(stop, i + 1, stops[stop])));
  byId("steps").replaceChildren(press("←", "back", () => step(-1), { "aria-label": ui.back }), h("span", { id: "where" }), press("→", "on", () => step(1), { "aria-label": ui.on }));
  watch();
  reached(place);
}

function section(stop, number, words) {
  const figure = h("div", { class: "figure" });
  const controls = { ...whatIfControls, beam: beamControls }[stop]?.({ t: t(), state, set, model: run.model, ask: drawSample, grow });
  const made = h("section", { id: stop, "aria-labelledby": `${stop}-title`, tabindex: -1 },
    h("h2", { id: `${stop}-title` }, h("span", { class: "number" }, String(number)), words.title),
    words.what.map((paragraph) => h("p", {}, paragraph)),
    (FORMULAS[stop] ?? [stop]).map(formula),
    controls && h("div", { class: "controls" }, controls), figure,
    h("p", { class: "try" }, h("strong", {}, t().ui.try), " ", words.try));
  sections.set(stop, { section: made, figure });
  return made;
}

const drawSample = () => ask("sample", {
  filters: { temperature: state.temperature, topK: state.topK >= 50 ? Infinity : state.topK, topP: state.topP }, seed: Date.now() | 0, count: 5,
});

/** Lets the beam grow step by step; all at once for who wants no motion. */
function grow() {
  clearInterval(timers.grow);
  if (!beam || matchMedia("(prefers-reduced-motion: reduce)").matches) return drawStop("beam");
  growing = 1;
  timers.grow = setInterval(() => {
    growing += 1;
    if (growing > beam.steps.length) { clearInterval(timers.grow); growing = undefined; }
    drawStop("beam");
  }, 350);
  drawStop("beam");
}

// ---- The reader's place

let watcher;
function watch() {
  watcher?.disconnect();
  watcher = new IntersectionObserver(() => {
    const line = innerHeight * 0.4;
    const found = [...sections].filter(([, { section }]) => section.getBoundingClientRect().top <= line).at(-1);
    reached(found?.[0] ?? STOPS[0]);
  }, { rootMargin: "-39% 0px -59% 0px" });
  for (const { section } of sections.values()) watcher.observe(section);
}

function reached(stop) {
  place = stop;
  mark(byId("map"), stop);
  const order = [...sections.keys()];
  byId("where").textContent = `${order.indexOf(stop) + 1}/${order.length} · ${t().stops[stop].title}`;
}

function go(stop) {
  const { section } = sections.get(stop), calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  section.scrollIntoView({ behavior: calm ? "auto" : "smooth" });
  section.focus({ preventScroll: true });
  reached(stop);
}

function step(by) {
  const order = [...sections.keys()], to = order[order.indexOf(place) + by];
  if (to) go(to);
}

byId("text").addEventListener("input", (event) => later("typing", () => set({ text: event.target.value }), 40));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
start();
