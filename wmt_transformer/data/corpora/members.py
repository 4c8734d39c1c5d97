"""The corpora that a run trains on: one, or several, each of which is read by a config of its own.

The first is `data.corpus`, the others are those of `data.more_corpora`. Each may have a tag, a word before every
source: `>>de<<` names the language to translate into where one model knows several, `<BT>` may mark what was translated
back.
"""

from __future__ import annotations

import dataclasses
import re

from wmt_transformer.config import DataConfig, UserError
from wmt_transformer.data.vocabulary import normalise
from wmt_transformer.messages import number_of

_FORM = re.compile(
    r"(?P<corpus>hf:[^:=@]+(:[^:=@]+)?(@[^:=@]+)?|mtdata:[^:=]+|\w+)"
    r"(=(?P<where>.+?))?(:(?P<source>[A-Za-z]\w*)-(?P<target>[A-Za-z][\w-]*))?"
)
"""`tatoeba`, `tatoeba=FOLDER`, `files=FILE,FILE`, `hf:NAME:CONFIG@REVISION`, any of them with `:en-fr` after it."""


def names(data: DataConfig) -> list[str]:
    """Returns the corpora to train on, as the settings name them."""
    return [data.corpus, *data.more_corpora]


def members(data: DataConfig) -> list[DataConfig]:
    """Returns the config of each corpus to train on, `data.corpus` first; it names one corpus and at most one tag.

    Raises UserError for a corpus that is not of such a form, and for tags or weights that do not fit.
    """
    found = [data, *(_other(data, named) for named in data.more_corpora)]
    if len(found) == 1 and not data.tags and not data.train_weights:
        return found
    treebank = any(member.target == "tree" for member in found)
    if treebank and (data.tags or data.more_corpora):
        raise UserError("treebanks are neither mixed with other corpora nor tagged; add trees with data.train_files")
    for name, values in (("tags", data.tags), ("train_weights", () if treebank else data.train_weights)):
        if values and len(values) != len(found):
            raise UserError(
                f"data.{name} has {number_of(len(values), 'value')} for {len(found)} "
                f"{'corpus' if len(found) == 1 else 'corpora'}: give one for {data.corpus}, then one for each of "
                "data.more_corpora"
            )
    if data.train_weights and not sum(data.train_weights):
        raise UserError("data.train_weights are all 0: nothing is left to train on; one at least is above 0")
    if strange := [tag for tag in data.tags if tag != "".join(normalise(tag).split())]:
        raise UserError(f"data.tags has {strange[0]!r}; a tag is one word, such as >>de<<, or '' for none")
    return [
        dataclasses.replace(member, more_corpora=(), tags=data.tags[number : number + 1])
        for number, member in enumerate(found)
    ]


def _other(data: DataConfig, named: str) -> DataConfig:
    """Returns the config of one of `more_corpora`: what it does not say is as in `data`."""
    form = _FORM.fullmatch(named)
    if form is None:
        raise UserError(
            f"data.more_corpora has {named!r}; a corpus is NAME, NAME=FOLDER, files=FILE[,FILE] or text=FILE[,…], and "
            ":SOURCE-TARGET after it where its languages are others"
        )
    named_by_file = form["corpus"] in ("files", "text")
    files = tuple(form["where"].split(",")) if named_by_file and form["where"] else ()
    return dataclasses.replace(
        data,
        corpus=form["corpus"],
        source=form["source"] or data.source,
        target=form["target"] or data.target,
        path=data.path if named_by_file else form["where"],
        train_files=files,
        dev_files=data.dev_files or files,  # it is only trained on: of a text nothing is held out
        train_pairs=None,
        more_corpora=(),
        train_weights=(),
    )
