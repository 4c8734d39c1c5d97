// Translates with transformers.js: node translate.mjs FOLDER DTYPE < texts.json, where texts.json is
// [{"text": …, "longest": …}]. Writes for each text its ids, the ids and the text that came of it, and for the
// first 20 together, as one batch, what the pipeline makes of them.
import { readFileSync } from "node:fs";
import { dirname, basename } from "node:path";
import { AutoModelForSeq2SeqLM, AutoTokenizer, env, pipeline } from "@huggingface/transformers";

const [folder, dtype] = process.argv.slice(2);
Object.assign(env, { allowLocalModels: true, allowRemoteModels: false, localModelPath: dirname(folder) + "/" });
const options = { dtype, session_options: { intraOpNumThreads: 1, interOpNumThreads: 1 } };
const texts = JSON.parse(readFileSync(0, "utf8"));
const tokenizer = await AutoTokenizer.from_pretrained(basename(folder));
const model = await AutoModelForSeq2SeqLM.from_pretrained(basename(folder), options);
const alone = [];
for (const { text, longest } of texts) {
  const inputs = tokenizer(text);
  const output = await model.generate({ ...inputs, max_new_tokens: longest + 1 });
  const ids = output.tolist()[0].map(Number);
  const translation = tokenizer.decode(ids, { skip_special_tokens: true });
  alone.push({ source: inputs.input_ids.tolist()[0].map(Number), ids, translation });
}
const translate = await pipeline("translation", basename(folder), options);
const together = await translate(texts.slice(0, 20).map(({ text }) => text));
console.log(JSON.stringify({ model: model.constructor.name, alone, together: together.map((one) => one.translation_text) }));
