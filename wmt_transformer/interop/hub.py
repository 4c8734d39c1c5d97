"""A Marian model by its name on the Hugging Face Hub, or the folder that it is in.

`huggingface_hub` fetches it and decides what its users know: HF_ENDPOINT is the hub that is asked, HF_HOME where files
are kept, HF_TOKEN who asks. A download that breaks goes on where it broke, at once or when it is asked for again.
Only the files that are read here are fetched, and of weights in several formats one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple, NoReturn

from wmt_transformer.config import UserError
from wmt_transformer.data.marian_vocabulary import MarianVocabulary
from wmt_transformer.parent import Parent

_CARD = "README.md"
_FILES = ["config.json", "generation_config.json", "tokenizer_config.json", *MarianVocabulary.FILES]
_OPTIONAL = [MarianVocabulary.TARGET_FILE, _CARD]
_WEIGHTS = ("model*.safetensors*", "pytorch_model*.bin*")
"""Patterns of their names, several files and their index included; the second is fetched where there is no first."""


class Located(NamedTuple):
    """A model that is on this machine now."""

    folder: Path
    origin: Parent
    """What a run that is made of it remembers: its name on the hub and the commit, or its folder."""


def locate(model: str, revision: str | None = None) -> Located:
    """Returns where a model is, and fetches it first where the name is the hub's. What is a folder here is the folder.

    Args:
      model: a folder, or OWNER/NAME.
      revision: a branch, a tag or a commit of the hub's; None is its main branch.

    Raises UserError for a name that is neither, where huggingface_hub is not installed, and where the hub cannot be
    reached, has no such model or revision, or refuses it.
    """
    if Path(model).is_dir():
        if revision is not None:
            raise UserError(f"--revision is for a model of the Hugging Face Hub, and {model} is a folder; leave it out")
        folder = Path(model)
        return Located(folder, Parent(str(folder.resolve()), license=_license(folder)))
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", model, re.ASCII):
        raise UserError(
            f"there is no folder {model}; give the folder of a Marian model as transformers saves it, or its name on "
            "the Hugging Face Hub, such as Helsinki-NLP/opus-mt-en-de"
        )
    folder = _fetched(model, revision)
    return Located(folder, Parent(model, checkpoint=folder.name, license=_license(folder)))


def _fetched(model: str, revision: str | None) -> Path:
    """Returns the folder of a model in the hub's cache, which is named by the commit."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise UserError(
            f"there is no folder {model}; to fetch it from the Hugging Face Hub by that name, run: pip install "
            "'huggingface_hub>=0.30' (30 MB)"
        ) from None

    def fetched(weights: str, revision: str | None) -> Path:
        files = [*_FILES, *_OPTIONAL, weights]
        return Path(snapshot_download(model, revision=revision, allow_patterns=files, library_name="wmt_transformer"))

    safe, old = _WEIGHTS
    try:
        folder = fetched(safe, revision)
        if any(folder.glob(safe)):
            return folder
        return fetched(old, folder.name)  # of the same commit, whatever is pushed meanwhile
    except Exception as error:  # of the hub, of the network, of the disk
        _refuse(model, revision, error)


def _refuse(model: str, revision: str | None, error: Exception) -> NoReturn:
    """Raises UserError, one line: what the hub said, and what to do without it."""
    from huggingface_hub import constants, errors

    place = f"{constants.ENDPOINT}/{model}"
    if isinstance(error, errors.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # why it looked for what it fetched before
    status = getattr(getattr(error, "response", None), "status_code", None)
    answered = "" if status is None else f" (HTTP {status})"
    if isinstance(error, errors.GatedRepoError):
        reason = f"{place} is given to those who accept its conditions there{answered}; do so, set HF_TOKEN, run again"
    elif isinstance(error, errors.RepositoryNotFoundError):
        reason = (
            f"{constants.ENDPOINT} shows no model {model}{answered}; check its name, or set HF_TOKEN if it is private"
        )
    elif isinstance(error, errors.RevisionNotFoundError):
        reason = f"{place} has no revision {revision}{answered}; leave out --revision, or name a branch, tag or commit"
    else:
        said = next(filter(None, map(str.strip, str(error).splitlines())), type(error).__name__).rstrip(".")
        reason = f"cannot fetch {place}{answered}: {said}; run again to go on"
    raise UserError(
        f"{reason}; or fetch by hand from {place}/tree/{revision or 'main'} the files {', '.join(_FILES)} and "
        f"model.safetensors (or pytorch_model.bin), put them into the folder {model} here, and run again"
    ) from error


def _license(folder: Path) -> str | None:
    """Returns the licence that a model's card names in its head, None where there is no card or it names none."""
    if not (folder / _CARD).is_file():
        return None
    card = (folder / _CARD).read_text(encoding="utf-8", errors="replace")
    head = re.match(r"---\s*\n(.*?)\n---", card, re.DOTALL)
    named = head and re.search(r"^license:\s*[\"']?([\w.-]+)", head[1], re.MULTILINE)
    return named[1] if named else None
