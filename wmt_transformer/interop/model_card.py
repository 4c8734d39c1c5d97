"""The model card of an exported run: README.md, whose head the Hugging Face Hub reads, and whose text people do.

It says what the files of the run say, and nothing else: what it was trained on, the scores that `evaluate` left in its
folder for this checkpoint, with their signatures, and how the export was compared. A licence is never guessed: it is
the one given, or the one of the imported model that training began with.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from wmt_transformer import __version__, parent
from wmt_transformer.config import Config, ModelConfig
from wmt_transformer.data.manifest import find_manifest
from wmt_transformer.evaluate.runs import description, kept_reports
from wmt_transformer.interop.marian_folder import Json
from wmt_transformer.interop.verification import Comparison

CARD = "README.md"
_SCORES = {
    "sacrebleu": ("BLEU", "signature"),
    "chrf": ("chrF2", "chrf_signature"),
    "chrf_plus_plus": ("chrF2++", "chrf_plus_plus_signature"),
    "ter": ("TER (lower is better)", "ter_signature"),
    "comet": ("COMET", "comet_signature"),
}
"""Which scores of a report are shown, by what name, and where the report has their signatures."""

_TEXT = """\
# {name}

A Transformer that translates from {source} to {target}: {model}. It was trained with wmt_transformer {version}, in JAX,
and is in the format of Marian models.

## Use

It needs `pip install transformers torch sentencepiece`.

```python
import unicodedata

from transformers import MarianMTModel, MarianTokenizer

name = "{name}"  # this folder, or OWNER/{name} on the Hub
tokenizer, model = MarianTokenizer.from_pretrained(name), MarianMTModel.from_pretrained(name)
text = " ".join(unicodedata.normalize("NFC", "{text}").split())
found = model.generate(**tokenizer([text], return_tensors="pt"))
print(tokenizer.decode(found[0], skip_special_tokens=True))
```
{tags}
## Data and training

{data}

## Scores

{scores}

## Checked

{checked}

## Licence

{license}
"""


@dataclasses.dataclass(frozen=True)
class Provenance:
    """What the folder of a run tells of one of its checkpoints."""

    about: Json = dataclasses.field(default_factory=dict)
    """See `evaluate.runs.description`."""
    statistics: Json = dataclasses.field(default_factory=dict)
    """Of the prepared data."""
    credits: Sequence[str] = ()
    """Licences of its corpora, and what to cite."""
    reports: Sequence[Json] = ()
    """Scores of this checkpoint."""
    origin: parent.Parent | None = None
    license: str | None = None

    @classmethod
    def of(cls, workdir: Path, which: str | int | None, license: str | None = None) -> Provenance:
        """Reads the folder of a run; `license` counts before the one of its parent."""
        about = description(workdir, which, "test")
        same = ("checkpoint", "step")
        reports = [one for one in kept_reports(workdir) if all(one.get(name) == about[name] for name in same)]
        manifest, origin = find_manifest(workdir / "data") or {}, parent.of(workdir)
        license = license or (origin.license if origin else None)
        return cls(about, manifest.get("statistics", {}), manifest.get("credits", ()), reports, origin, license)


def card(name: str, config: Config, model: ModelConfig, found: Provenance, compared: Comparison) -> str:
    """Returns the text of the card of a model called `name`."""
    data, layers = config.data, f"{model.num_layers} + {model.decoder_layers} layers"
    words = {
        "name": name,
        "source": data.source,
        "target": data.target,
        "model": f"{layers}, d_model {model.d_model}, {model.num_heads} heads, {model.vocabulary_size:,} pieces",
        "version": __version__,
        "text": f"{''.join(data.tags[:1])}A sentence in {data.source}.",
        "tags": f"\nA text begins with its tag: {', '.join(f'`{tag}`' for tag in data.tags)}.\n" if data.tags else "",
        "data": _data(config, found),
        "scores": _scores(found.reports),
        "checked": _checked(compared),
        "license": found.license or "None is stated: choose one before this is published.",
    }
    return _head(config, found) + _TEXT.format(**words)


def _head(config: Config, found: Provenance) -> str:
    """Returns the lines that the Hub reads; strings are quoted, since `no` alone is no Norwegian to YAML."""
    languages = dict.fromkeys(one for one in (config.data.source, config.data.target) if one != "und")
    lines = ["---"]
    lines += ["language:", *(f"- {json.dumps(one)}" for one in languages)] if languages else []
    lines += [f"license: {json.dumps(found.license)}"] if found.license else []
    if found.origin and found.origin.on_the_hub:
        lines.append(f"base_model: {json.dumps(found.origin.run)}")
    lines += ["library_name: transformers", "pipeline_tag: translation", "tags:", "- translation", "- marian"]
    return "\n".join([*lines, "---", "", ""])


def _data(config: Config, found: Provenance) -> str:
    about, kept = found.about, found.statistics.get("train", {}).get("kept")
    names = ", ".join(dict.fromkeys((config.data.corpus, *config.data.more_corpora)))
    if found.origin and about.get("step") == 0:
        return f"- as it was imported from: {found.origin}"
    lines = [f"- corpus: {names}" + (f", {kept:,} pairs of sentences" if isinstance(kept, int) else "")]
    if about:
        which = "the mean of the last checkpoints, " if about["checkpoint"] == "average" else ""
        lines.append(f"- config: {config.name}, family {config.family}; {which}step {about['step']:,}")
        lines += [f"- {one}" for one in about["changed"]]
    lines += [f"- {line}" for line in found.credits]
    return "\n".join([*lines, *([f"- began with: {found.origin}"] if found.origin else [])])


def _checked(compared: Comparison) -> str:
    lines = [f"{str(compared)[0].upper()}{str(compared)[1:]}."]
    if compared.bleu:
        lines += ["", *(f"- {one['program']}, {one['weights']}: BLEU {one['bleu']:.2f}" for one in compared.bleu)]
        first = compared.bleu[0]
        lines += ["", f"On {first['sentences']:,} test sentences, by {first['search']} search; `{first['signature']}`."]
    return "\n".join(lines)


def _scores(reports: Sequence[Json]) -> str:
    rows = [
        f"- {one['split']}: {name} {one[field]:.{2 if field != 'comet' else 4}f}, `{one[signature]}`"
        for one in reports
        for field, (name, signature) in _SCORES.items()
        if field in one
    ]
    if not rows:
        return "None: `wmt-transformer evaluate` was not run on this checkpoint."
    beams = dict.fromkeys(f"beam {one['beam_size']}, alpha {one['alpha']:g}" for one in reports)
    return "\n".join([*rows, "", f"With our own search: {'; '.join(beams)}."])  # a table would part at a signature's |
