// What a model computes while it writes piece by piece, gathered as if it had read the whole text at once.

/**
 * Returns `see(name, rows)`, which puts the rows of each step below those of the steps before, and `gathered()`, which
 * returns them by their names. What an earlier query could not see yet is masked there: its score is −∞, its share 0.
 */
export function gathering() {
  const seen = {};
  const see = (name, rows) => {
    if (!(name in seen)) seen[name] = perHead(name) ? rows.map((head) => [...head]) : [...rows];
    else if (perHead(name)) rows.forEach((head, i) => seen[name][i].push(...head));
    else seen[name].push(...rows);
  };
  const gathered = () => {
    for (const name of Object.keys(seen).filter(perHead))
      seen[name] = seen[name].map((head) => head.map((row) => masked(row, head.at(-1).length, hidden(name))));
    return seen;
  };
  return { see, gathered };
}

const perHead = (name) => /\/(scores|attention_weights)$/.test(name); // [head][query][key]; all others are [position][…]
const hidden = (name) => (name.endsWith("/scores") ? -Infinity : 0);

function masked(row, keys, value) {
  if (row.length === keys) return row;
  const whole = new Float32Array(keys).fill(value);
  whole.set(row);
  return whole;
}
