// The paper's equations in MathML.

const i = (name) => `<mi>${name}</mi>`;
const o = (sign) => `<mo>${sign}</mo>`;
const n = (value) => `<mn>${value}</mn>`;
const word = (name) => `<mi mathvariant="normal">${name}</mi>`;
const row = (...parts) => `<mrow>${parts.join("")}</mrow>`;
const sub = (base, below) => `<msub>${base}${below}</msub>`;
const sup = (base, above) => `<msup>${base}${above}</msup>`;
const frac = (above, below) => `<mfrac>${above}${below}</mfrac>`;
const root = (inside) => `<msqrt>${inside}</msqrt>`;
const around = (...inside) => row(o("("), ...inside, o(")"));
const equation = (...parts) => `<math display="block"><mrow>${parts.join("")}</mrow></math>`;

const dModel = sub(i("d"), word("model")), dK = sub(i("d"), i("k"));
const scaled = frac(row(i("Q"), sup(i("K"), word("T"))), root(dK));

export const formulas = {
  pieces: equation(word("text"), o("⟶"), around(sub(i("x"), n(1)), o(","), sub(i("x"), n(2)), o(","), o("…"), o(","), sub(i("x"), i("n")))),
  embed: equation(sub(i("h"), i("t")), o("="), sub(i("E"), sub(i("x"), i("t"))), o("·"), root(dModel), o("+"), sub(word("PE"), i("t"))),
  sinusoid: equation(
    sub(word("PE"), row(i("t"), o(","), n(2), i("i"))), o("="), word("sin"), around(frac(i("t"), sup(n(10000), row(n(2), i("i"), o("/"), dModel)))),
    o(","), o(" "), sub(word("PE"), row(i("t"), o(","), n(2), i("i"), o("+"), n(1))), o("="), word("cos"), around(o("…"))),
  projections: equation(
    i("q"), o("="), i("h"), sup(i("W"), i("Q")), o(","), o(" "), i("k"), o("="), i("h"), sup(i("W"), i("K")), o(","), o(" "),
    i("v"), o("="), i("h"), sup(i("W"), i("V"))),
  attention: equation(word("Attention"), around(i("Q"), o(","), i("K"), o(","), i("V")), o("="), word("softmax"), around(scaled), i("V")),
  masked: equation(word("softmax"), around(scaled, o("+"), i("M")), i("V"), o(","), o(" "), sub(i("M"), row(i("t"), i("s"))), o("="),
    o("−"), i("∞"), o(" "), o("("), i("s"), o("&gt;"), i("t"), o(")")),
  cross: equation(word("Attention"), around(sub(i("Q"), word("decoder")), o(","), sub(i("K"), word("encoder")), o(","), sub(i("V"), word("encoder")))),
  norm: equation(word("LayerNorm"), around(i("x"), o("+"), word("Sublayer"), around(i("x")))),
  preNorm: equation(i("x"), o("+"), word("Sublayer"), around(word("LayerNorm"), around(i("x")))),
  relu: equation(word("FFN"), around(i("x")), o("="), word("max"), around(n(0), o(","), i("x"), sub(i("W"), n(1)), o("+"), sub(i("b"), n(1))),
    sub(i("W"), n(2)), o("+"), sub(i("b"), n(2))),
  ffn: equation(word("FFN"), around(i("x")), o("="), i("σ"), around(i("x"), sub(i("W"), n(1)), o("+"), sub(i("b"), n(1))),
    sub(i("W"), n(2)), o("+"), sub(i("b"), n(2))),
  probabilities: equation(i("P"), around(i("y")), o("="), frac(sup(i("e"), sub(i("z"), i("y"))), row(o("∑"), sup(i("e"), i("z")))), o(","), o(" "),
    i("z"), o("="), i("h"), sup(i("E"), word("T"))),
  sample: equation(sub(i("P"), i("T")), around(i("y")), o("∝"), sup(row(i("P"), around(i("y"))), row(n(1), o("/"), i("T")))),
  beam: equation(word("score"), o("="), frac(row(word("log"), i("P"), around(i("y"), o("|"), i("x"))), sup(around(row(o("("), n(5), o("+"), i("n"), o(")"), o("/"), n(6))), i("α")))),
  markov: equation(i("P"), around(i("c"), o("|"), i("a"), i("b")), o("="), frac(row(word("count"), around(i("a"), i("b"), i("c"))), row(word("count"), around(i("a"), i("b"))))),
};

/** Returns a formula as an element. */
export function formula(name) {
  const box = document.createElement("div");
  box.className = "formula";
  box.innerHTML = formulas[name];
  return box;
}
