// From text to pieces and back, as the model's vocabulary does it (SentencePiece, byte pairs; §5.1).
//
// A text is first cut into characters. Then the neighbours whose union is the best piece of the vocabulary are joined,
// again and again, until no two neighbours are a piece together. A character that has no piece is spelt by its UTF-8
// bytes, <0xE2> and the like, so that no text is ever lost.

const SPACE = "\u2581"; // how a piece writes a space
// Python's white space (which is not JavaScript's), control characters, lone surrogates, and the ▁ of pieces.
const BLANKS = /[\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u2581\u3000\ud800-\udfff]+/gu;

/** Returns the text in NFC, with white space and control characters collapsed to single spaces. */
export const normalise = (text) => text.normalize("NFC").replace(BLANKS, " ").replace(/^ +| +$/g, "");

export class Pieces {
  /**
   * @param {{pieces: string[], ranks: number[], bytes: number, symbols: number[], lines: boolean}} vocabulary
   *   pieces: the name of each id. ranks: how good a piece is, NaN (null) for what text is never joined into.
   *   bytes: the id of <0x00>. symbols: ids that are one piece wherever they occur. lines: whether text is taken as it
   *   is, line breaks included (a language model's vocabulary).
   */
  constructor({ pieces, ranks, bytes, symbols, lines }) {
    Object.assign(this, { names: pieces, bytes, lines });
    this.ids = new Map(pieces.map((piece, id) => [piece, id]).filter(([, id]) => ranks[id] !== null));
    this.ranks = ranks;
    this.symbols = symbols.map((id) => pieces[id]).sort((a, b) => b.length - a.length); // the longest first
  }

  /** Returns the ids of a text, without those that mark its beginning and end. */
  encode(text) {
    const taken = this.lines ? text.toWellFormed?.() ?? text : normalise(text);
    if (!taken) return [];
    return this.joined((this.lines ? taken : ` ${taken}`).replaceAll(" ", SPACE)).flatMap((piece) => this.spelt(piece));
  }

  /** Returns a text's pieces: its characters, after the best neighbours were joined again and again. */
  joined(text) {
    const parts = this.characters(text);
    const rank = (i) => {
      const free = i + 1 < parts.length && !parts[i].whole && !parts[i + 1].whole;
      const id = free ? this.ids.get(parts[i].text + parts[i + 1].text) : undefined;
      return id === undefined ? -Infinity : this.ranks[id];
    };
    const ranks = parts.map((_, i) => rank(i));
    for (;;) {
      let best = 0;
      for (let i = 1; i < ranks.length; i++) if (ranks[i] > ranks[best]) best = i; // of equals the leftmost
      if (!(ranks[best] > -Infinity)) return parts.map((part) => part.text);
      parts.splice(best, 2, { text: parts[best].text + parts[best + 1].text, whole: false });
      ranks.splice(best, 1);
      ranks[best] = rank(best);
      if (best > 0) ranks[best - 1] = rank(best - 1);
    }
  }

  /** Returns a text's characters, and whole the symbols that are in it. */
  characters(text) {
    const parts = [];
    for (let at = 0; at < text.length; at += parts.at(-1).text.length) {
      const symbol = this.symbols.find((one) => text.startsWith(one, at));
      parts.push({ text: symbol ?? String.fromCodePoint(text.codePointAt(at)), whole: symbol !== undefined });
    }
    return parts;
  }

  /** Returns the id of a piece, or those of its bytes where it has none. */
  spelt(piece) {
    const id = this.ids.get(piece);
    return id === undefined ? [...new TextEncoder().encode(piece)].map((byte) => this.bytes + byte) : [id];
  }

  /** Returns the text that ids spell. */
  decode(ids) {
    let text = "", open = []; // bytes that wait for the rest of their character
    const close = () => ((text += characters(open)), (open = []));
    for (const id of ids) {
      if (id >= this.bytes && id < this.bytes + 256) open.push(id - this.bytes);
      else {
        close();
        let piece = id < 3 ? "" : id === 3 ? " \u2047 " : this.names[id];
        if (!this.lines && text === "" && piece.startsWith(SPACE)) piece = piece.slice(1); // the space before a text
        text += piece.replaceAll(SPACE, " ");
      }
    }
    close();
    return text;
  }
}

/** Returns what bytes of UTF-8 spell, with U+FFFD for each one that belongs to no character. */
function characters(bytes) {
  const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let text = "";
  for (let at = 0; at < bytes.length; ) {
    const length = bytes[at] < 0x80 ? 1 : bytes[at] < 0xe0 ? 2 : bytes[at] < 0xf0 ? 3 : 4;
    try {
      text += utf8.decode(new Uint8Array(bytes.slice(at, at + length)));
      at += length;
    } catch {
      text += "\ufffd";
      at += 1;
    }
  }
  return text;
}
