// Elements by one function, and groups of buttons that arrow keys move in.

/** Returns an element: `h("p", { class: "note" }, "text", other)`; on… are listeners, null children are left out. */
export function h(tag, props = {}, ...children) {
  return made(document.createElement(tag), props, children);
}

/** Returns an SVG element. */
export function svg(tag, props = {}, ...children) {
  return made(document.createElementNS("http://www.w3.org/2000/svg", tag), props, children);
}

function made(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(9).filter((child) => child != null && child !== false));
  return element;
}

/** Returns buttons of which one is pressed; arrow keys move among them, Tab leaves them. */
export function choice(label, names, chosen, pick, props = {}) {
  const buttons = names.map((name, i) =>
    h("button", {
      type: "button", class: "chip", "aria-pressed": String(i === chosen), "data-key": `${props.key ?? label}/${i}`,
      tabindex: i === Math.max(chosen, 0) ? 0 : -1, onclick: () => pick(i), ...props.each?.(i),
    }, name));
  const move = (event) => {
    const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    const to = step && buttons[buttons.indexOf(document.activeElement) + step];
    if (to) { event.preventDefault(); to.focus(); to.click(); }
  };
  return h("div", { class: `choice ${props.class ?? ""}`, role: "group", "aria-label": label, onkeydown: move }, buttons);
}

/** Returns a slider with its label and value. */
export function slider(label, { key, min, max, step, value, shown = String }, change) {
  const out = h("output", {}, shown(value));
  const input = h("input", {
    type: "range", min, max, step, value, "data-key": key,
    oninput: () => { out.textContent = shown(+input.value); change(+input.value); },
  });
  return h("label", { class: "slider" }, h("span", {}, label), input, out);
}

/** Returns a box to tick. */
export const tick = (label, key, checked, change) =>
  h("label", { class: "tick" }, h("input", { type: "checkbox", checked, "data-key": key, onchange: (e) => change(e.target.checked) }), label);

export const press = (label, key, act, props = {}) =>
  h("button", { type: "button", class: "press", "data-key": key, onclick: act, ...props }, label);

/** Returns a number as people read it. */
export const number = (value, digits = 2) =>
  value === -Infinity ? "−∞" : value.toFixed(digits).replace(/^-(?=[0.]*$)/, "").replace("-", "−"); // no −0.00

export const percent = (share) => (share >= 0.9995 ? "100 %" : share >= 0.1 ? `${(100 * share).toFixed(1)} %` : `${(100 * share).toFixed(2)} %`);
