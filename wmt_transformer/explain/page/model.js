// The Transformer of "Attention Is All You Need" (§3), one sentence at a time.
//
// A matrix is an array of rows, and row t belongs to position t. Everything that is computed is shown to `see(name,
// rows)`, under the names of the Python modules. The decoder never computes a position twice: its cache keeps the keys
// and values of those before it (so a whole target at once and one piece after another are the same code).
//
// `changes` is what a reader may break: `off`, a set of heads such as "encoder_0/self_attention/2"; `positions: false`
// adds none; `mask: false` lets the decoder see what is to come.

export class Transformer {
  constructor(config, weights, changes = {}) {
    this.config = config;
    this.weights = weights; // name → Float32Array
    this.changes = { off: new Set(), positions: true, mask: true, ...changes };
  }

  /** Returns the encoder's output [source, d_model] (figure 1, left). */
  encode(ids, see = () => {}) {
    const table = this.config.tied_embeddings === "all" ? "target_embedding" : "source_embedding";
    let x = this.embed(ids, 0, table, "source_positions", see, "source");
    for (let layer = 0; layer < this.config.num_layers; layer++) {
      const name = `encoder_${layer}`;
      x = this.residual(`${name}/self_attention`, x, see, (y) => {
        const memory = this.keysValues(`${name}/self_attention`, y, see);
        return this.attend(`${name}/self_attention`, y, memory, () => memory.key.length, see);
      });
      x = this.residual(`${name}/feed_forward`, x, see, (y) => this.feedForward(`${name}/feed_forward`, y, see));
      see(name, x);
    }
    return this.finished("encoder_norm", x, see);
  }

  /** Returns an empty cache, and each layer's keys and values of the encoder's output, where there is one. */
  start(encoded, see = () => {}) {
    const layers = Array.from({ length: this.config.decoder_layers }, (_, layer) => ({
      own: { key: [], value: [] },
      memory: encoded && this.keysValues(`decoder_${layer}/cross_attention`, encoded, see),
    }));
    return { length: 0, layers };
  }

  /** Returns the logits [ids, vocabulary] of the piece after each of the ids, and the cache with these in it (figure 1,
   * right). The old cache stays as it is, so that several hypotheses may continue it. */
  extend(ids, cache, see = () => {}) {
    let x = this.embed(ids, cache.length, "target_embedding", "target_positions", see, "target");
    const layers = cache.layers.map(({ own, memory }, layer) => {
      const name = `decoder_${layer}`;
      let kept;
      x = this.residual(`${name}/self_attention`, x, see, (y) => {
        const now = this.keysValues(`${name}/self_attention`, y, see);
        kept = { key: [...own.key, ...now.key], value: [...own.value, ...now.value] };
        const visible = (t) => (this.changes.mask ? cache.length + t + 1 : kept.key.length);
        return this.attend(`${name}/self_attention`, y, kept, visible, see);
      });
      if (memory)
        x = this.residual(`${name}/cross_attention`, x, see, (y) =>
          this.attend(`${name}/cross_attention`, y, memory, () => memory.key.length, see));
      x = this.residual(`${name}/feed_forward`, x, see, (y) => this.feedForward(`${name}/feed_forward`, y, see));
      see(name, x);
      return { own: kept, memory };
    });
    x = this.finished("decoder_norm", x, see);
    return { logits: this.logits(x, see), cache: { length: cache.length + ids.length, layers } };
  }

  /** Rows of the table times √d_model, plus positions (§3.4, §3.5). */
  embed(ids, first, table, learned, see, side) {
    const { d_model, positions, sinusoid_layout } = this.config;
    const rows = this.weights[`${table}/table`], places = this.weights[learned];
    const word = ids.map((id) => rows.subarray(id * d_model, (id + 1) * d_model).map((v) => v * Math.sqrt(d_model)));
    const place = ids.map((_, t) =>
      positions === "learned"
        ? places.subarray((first + t) * d_model, (first + t + 1) * d_model)
        : sinusoid(first + t, d_model, sinusoid_layout));
    see(`${side}/word`, word);
    see(`${side}/position`, place);
    const x = this.changes.positions ? word.map((row, t) => sum(row, place[t])) : word;
    see(`${side}/embedding`, x);
    return x;
  }

  /** LayerNorm(x + sublayer(x)), as published; or x + sublayer(LayerNorm(x)), as later (§3.1). */
  residual(name, x, see, sublayer) {
    const post = this.config.norm_position === "post";
    const y = sublayer(post ? x : this.norm(`${name}_residual/norm`, x, see));
    const added = x.map((row, t) => sum(row, y[t]));
    see(`${name}_residual/sum`, added);
    const out = post ? this.norm(`${name}_residual/norm`, added, see) : added;
    see(`${name}_residual`, out);
    return out;
  }

  keysValues(name, x, see) {
    return { key: this.dense(`${name}/key`, x, see), value: this.dense(`${name}/value`, x, see) };
  }

  /** softmax(QKᵀ / √d_k) V in every head (equation 1, §3.2.2); query t sees the first `visible(t)` keys. */
  attend(name, x, { key, value }, visible, see) {
    const { num_heads, d_k, d_v } = this.config;
    const query = this.dense(`${name}/query`, x, see);
    const scores = [], weights = [];
    const gathered = x.map(() => new Float32Array(num_heads * d_v));
    for (let head = 0; head < num_heads; head++) {
      scores.push(query.map((q, t) => {
        const row = new Float32Array(key.length).fill(-Infinity); // the mask
        for (let s = 0; s < visible(t); s++) row[s] = dot(q, key[s], head * d_k, (head + 1) * d_k) / Math.sqrt(d_k);
        return row;
      }));
      weights.push(scores[head].map(softmax));
      if (this.changes.off.has(`${name}/${head}`)) continue; // what this head gathers stays 0
      gathered.forEach((row, t) => {
        for (let s = 0; s < visible(t); s++) {
          const weight = weights[head][t][s], v = value[s];
          for (let i = head * d_v; i < (head + 1) * d_v; i++) row[i] += weight * v[i];
        }
      });
    }
    see(`${name}/scores`, scores); // [head][query][key]
    see(`${name}/attention_weights`, weights);
    see(`${name}/gathered`, gathered);
    const out = this.dense(`${name}/output`, gathered, see);
    see(name, out);
    return out;
  }

  /** max(0, x W₁ + b₁) W₂ + b₂ (equation 2). */
  feedForward(name, x, see) {
    const active = { relu: (v) => Math.max(0, v), swish: (v) => v / (1 + Math.exp(-v)), gelu }[this.config.activation];
    const hidden = this.dense(`${name}/hidden`, x, see).map((row) => row.map(active));
    see(`${name}/active`, hidden);
    const out = this.dense(`${name}/output`, hidden, see);
    see(name, out);
    return out;
  }

  /** The scores of every piece: states times the output table (§3.4). */
  logits(x, see) {
    const { vocabulary_size, tied_embeddings } = this.config;
    const table = this.weights[tied_embeddings === "none" ? "output_table" : "target_embedding/table"];
    this.weights.transposed ??= transposed(table, vocabulary_size); // so that a product reads it row by row
    const logits = x.map((row) => {
      const found = this.weights.output_bias?.slice() ?? new Float32Array(vocabulary_size);
      addProduct(found, row, this.weights.transposed);
      return found;
    });
    see("logits", logits);
    return logits;
  }

  finished(name, x, see) {
    return this.config.norm_position === "post" ? x : this.norm(name, x, see);
  }

  /** (x - mean) / √(variance + ε) · scale + bias, over each row. */
  norm(name, x, see) {
    const scale = this.weights[`${name}/scale`], bias = this.weights[`${name}/bias`];
    const out = x.map((row) => {
      const mean = row.reduce((a, v) => a + v, 0) / row.length;
      const variance = row.reduce((a, v) => a + (v - mean) ** 2, 0) / row.length;
      const deviation = Math.sqrt(variance + this.config.norm_epsilon);
      return row.map((v, i) => ((v - mean) / deviation) * scale[i] + bias[i]);
    });
    see(name, out);
    return out;
  }

  /** x W + b. */
  dense(name, x, see) {
    const kernel = this.weights[`${name}/kernel`], bias = this.weights[`${name}/bias`];
    const width = kernel.length / x[0].length;
    const out = x.map((row) => {
      const y = bias ? bias.slice() : new Float32Array(width);
      addProduct(y, row, kernel);
      return y;
    });
    see(name, out);
    return out;
  }
}

/** y += x W. Rows of W that meet a 0 (most after a ReLU) are left out; the others come eight at a time, as reading and
 * writing y takes as long as a product. */
function addProduct(y, x, kernel) {
  const some = [], width = y.length;
  for (let i = 0; i < x.length; i++) if (x[i]) some.push(i);
  const last = some.length - 1;
  const value = (k) => (k > last ? 0 : x[some[k]]), place = (k) => some[Math.min(k, last)] * width;
  for (let k = 0; k <= last; k += 8) {
    const a = value(k), b = value(k + 1), c = value(k + 2), d = value(k + 3);
    const e = value(k + 4), f = value(k + 5), g = value(k + 6), h = value(k + 7);
    const atA = place(k), atB = place(k + 1), atC = place(k + 2), atD = place(k + 3);
    const atE = place(k + 4), atF = place(k + 5), atG = place(k + 6), atH = place(k + 7);
    for (let j = 0; j < width; j++)
      y[j] += a * kernel[atA + j] + b * kernel[atB + j] + c * kernel[atC + j] + d * kernel[atD + j] +
        e * kernel[atE + j] + f * kernel[atF + j] + g * kernel[atG + j] + h * kernel[atH + j];
  }
}

function transposed(matrix, rows) {
  const columns = matrix.length / rows, found = new Float32Array(matrix.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) found[j * rows + i] = matrix[i * columns + j];
  return found;
}

const sum = (a, b) => a.map((v, i) => v + b[i]);

const gelu = (v) => 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3)));

function dot(a, b, from, to) {
  let total = 0;
  for (let i = from; i < to; i++) total += a[i] * b[i];
  return total;
}

export function softmax(scores) {
  const highest = scores.reduce((a, v) => Math.max(a, v), -Infinity);
  const exponents = scores.map((v) => Math.exp(v - highest));
  const total = exponents.reduce((a, v) => a + v, 0);
  return exponents.map((v) => v / total);
}

/** Returns ln of the softmax. */
export function logSoftmax(logits) {
  const highest = logits.reduce((a, v) => Math.max(a, v), -Infinity);
  const total = Math.log(logits.reduce((a, v) => a + Math.exp(v - highest), 0)) + highest;
  return logits.map((v) => v - total);
}

/** PE(pos, 2i) = sin(pos / 10000^(2i / d)), PE(pos, 2i + 1) = cos(the same); or all sines first (§3.5). */
export function sinusoid(position, width, layout) {
  const half = Math.ceil(width / 2);
  return Float32Array.from({ length: width }, (_, j) => {
    const [pair, odd] = layout === "interleaved" ? [j >> 1, j % 2] : [j % half, j >= half];
    const angle = position / 10000 ** ((2 * pair) / width);
    return odd ? Math.cos(angle) : Math.sin(angle);
  });
}
