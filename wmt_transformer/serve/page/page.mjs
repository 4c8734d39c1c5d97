// Translates while one types: waits for a pause, gives up an older request, and shows which words became which.
import { WORDS } from "./words.mjs";

const PAUSE = 300; // milliseconds
const ALTERNATIVES = 3;
const at = (id) => document.getElementById(id);
const [text, mirror, translation, status, source, target] =
  ["text", "mirror", "translation", "status", "source", "target"].map(at);
const query = new URLSearchParams(location.search);

let locale = query.get("lang") ?? (navigator.language.startsWith("zh") ? "zh" : "en");
let languages = [];
let links = [];
let request = new AbortController();
let timer = 0;
let most = 0;
let alternatives = 0;
let keyed = false;

const words = () => WORDS[locale];

// ---- Words of the page

function speak() {
  document.documentElement.lang = locale;
  for (const one of document.querySelectorAll("[data-words]")) one.textContent = words()[one.dataset.words];
  for (const one of document.querySelectorAll("[data-label]")) one.setAttribute("aria-label", words()[one.dataset.label]);
  at("swap").title = words().swap;
  text.placeholder = words().placeholder;
  at("locale").textContent = words().other;
  at("locale").lang = locale === "en" ? "zh" : "en";
  choose();
  say("");
}

function named(code) {
  return new Intl.DisplayNames([locale], { type: "language", fallback: "code" }).of(code);
}

function say(message, wrong = false, place = status) {
  place.textContent = message;
  place.className = wrong ? "error" : "";
}

// ---- Languages

function fill(select, codes, chosen) {
  select.replaceChildren(...codes.map((code) => new Option(code === "auto" ? words().detect : named(code), code)));
  if (codes.includes(chosen)) select.value = chosen;
}

function choose(from = source.value, to = target.value) {
  const served = languages.filter((one) => one.targets.some((code) => code !== one.code));
  fill(source, [...served.map((one) => one.code), "auto"], from);
  const targets = served.filter((one) => source.value === "auto" || one.code === source.value)
    .flatMap((one) => one.targets.filter((code) => code !== one.code));
  fill(target, [...new Set(targets)].sort(), to);
  const back = languages.find((one) => one.code === target.value);
  at("swap").disabled = source.value === "auto" || !back?.targets.includes(source.value);
}

// ---- Translating

function soon() {
  clearTimeout(timer);
  request.abort();
  draw(mirror, text.value, 0);
  text.style.height = "auto";
  text.style.height = `${text.scrollHeight}px`;
  at("count").textContent = `${[...text.value].length} / ${most} ${words().characters}`;
  const asked = { q: text.value, source: source.value, target: target.value };
  const shown = keyed ? { ...asked, api_key: "…" } : asked;
  history.replaceState(null, "", `?${new URLSearchParams({ ...asked, lang: locale })}`);
  at("curl").textContent = `curl ${location.origin}${location.pathname}translate \\\n` +
    Object.entries(shown).map(([name, value]) => `  --data-urlencode ${quoted(`${name}=${value}`)}`).join(" \\\n");
  timer = setTimeout(translate, PAUSE, asked);
}

function authorization() {
  return keyed && at("key").value ? { Authorization: `Bearer ${at("key").value}` } : {};
}

function quoted(word) {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

async function translate(asked) {
  if (!asked.q.trim()) return show({ translatedText: "" });
  request = new AbortController();
  const { signal } = request;
  say(words().working);
  try {
    const reply = await fetch("translate", {
      method: "POST",
      headers: { "Content-Type": "application/json", ...authorization() },
      body: JSON.stringify({ ...asked, alternatives: Math.min(ALTERNATIVES, alternatives), alignments: true, attention: at("inside").open }),
      signal,
    });
    const found = await reply.json();
    if (signal.aborted) return;
    if (reply.ok) show(found);
    else say(found.error, true);
  } catch {
    if (!signal.aborted) say(words().offline, true);
  }
}

function show(found) {
  links = found.alignments ?? [];
  draw(translation, found.translatedText, 1);
  translation.lang = target.value;
  const others = found.alternatives ?? [];
  at("others").hidden = !others.length;
  at("alternatives").replaceChildren(...others.map((one) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: one });
    button.addEventListener("click", () => {
      button.textContent = translation.textContent;
      links = []; // they are those of the best translation
      draw(translation, one, 1);
    });
    const item = document.createElement("li");
    item.append(button);
    return item;
  }));
  at("attention").replaceChildren(...(found.attention ?? []).map(table));
  const seen = found.detectedLanguage;
  if (found.repeats) say(words().repeats, true);
  else if (found.missing) say(`${words().missing} ${found.missing.join(", ")}`, true);
  else say(seen ? `${words().found} ${named(seen.language)} (${Math.round(seen.confidence)} %)` : "");
}

// ---- What the translation looked at

// A table of one sentence's weights, in thousandths.
function table({ source, target, weights }) {
  const found = document.createElement("table");
  found.createTHead().insertRow().append(document.createElement("td"), ...source.map((piece) => heading(piece, "col")));
  const body = found.createTBody();
  target.forEach((piece, number) => {
    const row = body.insertRow();
    row.append(heading(piece, "row"));
    for (const weight of weights[number].slice(0, source.length)) {
      const cell = row.insertCell();
      cell.textContent = weight < 50 ? "" : Math.round(weight / 10);
      cell.style.setProperty("--weight", `${weight / 10}%`);
    }
  });
  return found;
}

function heading(piece, scope) {
  return Object.assign(document.createElement("th"), { textContent: piece, scope, dir: "auto" });
}

// ---- Files

function panes(files) {
  at("file-pane").hidden = !files;
  at("text-pane").hidden = files;
  at("as-text").setAttribute("aria-pressed", String(!files));
  at("as-file").setAttribute("aria-pressed", String(files));
  if (!files) soon();
}

async function send(event) {
  event.preventDefault();
  const body = new FormData();
  body.append("file", at("file").files[0]);
  body.append("source", source.value);
  body.append("target", target.value);
  at("send").disabled = true;
  at("result").hidden = true;
  say(words().working, false, at("file-status"));
  try {
    const reply = await fetch("translate_file", { method: "POST", headers: authorization(), body });
    const found = await reply.json();
    say(reply.ok ? "" : found.error, !reply.ok, at("file-status"));
    if (reply.ok) {
      // By the address that the page has, whatever the server takes its own to be.
      at("result").href = `download_file/${found.translatedFileUrl.split("/").pop()}`;
      at("result").hidden = false;
      at("result").focus();
    }
  } catch {
    say(words().offline, true, at("file-status"));
  }
  at("send").disabled = false;
}

// ---- Which words became which

// Fills an element with a text whose words are spans with their number.
function draw(element, value, side) {
  let number = 0;
  element.replaceChildren(...value.split(/(\s+)/).filter(Boolean).map((piece) => {
    if (!piece.trim()) return piece;
    const word = document.createElement("span");
    word.textContent = piece;
    word.dataset.side = side;
    word.dataset.word = number++;
    return word;
  }));
  if (side === 0) element.append("\u200b");
}

function mark(side, number) {
  for (const one of document.querySelectorAll(".linked")) one.classList.remove("linked");
  const partners = links.filter((pair) => pair[side] === number);
  if (!partners.length) return;
  const [own, other] = side === 0 ? [mirror, translation] : [translation, mirror];
  own.querySelector(`[data-word="${number}"]`)?.classList.add("linked");
  for (const pair of partners) other.querySelector(`[data-word="${pair[1 - side]}"]`)?.classList.add("linked");
}

function pointed(event) {
  const word = document.elementsFromPoint(event.clientX, event.clientY).find((one) => one.dataset?.word !== undefined);
  mark(Number(word?.dataset.side ?? 0), Number(word?.dataset.word ?? -1));
}

// The word at the cursor: for who has no mouse.
function atCursor() {
  mark(0, text.value.slice(0, text.selectionStart).trimStart().split(/\s+/).length - 1);
}

// ---- The page

for (const pane of [at("entry"), translation]) {
  pane.addEventListener("mousemove", pointed);
  pane.addEventListener("mouseleave", () => mark(0, -1));
}
text.addEventListener("input", soon);
text.addEventListener("keyup", atCursor);
for (const select of [source, target]) select.addEventListener("change", () => { choose(); soon(); });
at("swap").addEventListener("click", () => {
  text.value = translation.textContent || text.value;
  choose(target.value, source.value);
  soon();
});
at("clear").addEventListener("click", () => { text.value = ""; soon(); text.focus(); });
at("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText(translation.textContent);
  say(words().copied);
});
at("inside").addEventListener("toggle", () => { if (at("inside").open) soon(); });
at("as-text").addEventListener("click", () => panes(false));
at("as-file").addEventListener("click", () => panes(true));
at("file").addEventListener("change", () => {
  const [file] = at("file").files;
  at("send").disabled = !file;
  at("file-name").textContent = file?.name ?? "";
});
at("file-pane").addEventListener("submit", send);
at("key").addEventListener("change", () => { localStorage.setItem("key", at("key").value); soon(); });
at("locale").addEventListener("click", () => { locale = locale === "en" ? "zh" : "en"; speak(); soon(); });

try {
  const [served, settings] = await Promise.all(
    ["languages", "frontend/settings"].map(async (path) => (await fetch(path)).json()),
  );
  languages = served;
  most = settings.charLimit;
  alternatives = settings.alternatives;
  keyed = settings.keyRequired;
  at("needs-key").hidden = !keyed;
  at("key").value = keyed ? localStorage.getItem("key") ?? "" : "";
  at("file").accept = settings.supportedFilesFormat.join(",");
  at("formats").textContent = settings.supportedFilesFormat.join(" ");
  const { language } = settings;
  speak();
  choose(language.source.code, language.target.code);
  choose(query.get("source") ?? language.source.code, query.get("target") ?? language.target.code);
  text.value = query.get("q") ?? "";
  soon();
} catch {
  speak();
  say(words().offline, true);
}
