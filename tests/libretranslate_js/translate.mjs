// Translates with LibreTranslate's client: node translate.mjs '{"apiurl": …, "query": …, "source": …, "target": …}'.
import { translate } from "libretranslate";

console.log(JSON.stringify((await translate(JSON.parse(process.argv[2]))) ?? null));
