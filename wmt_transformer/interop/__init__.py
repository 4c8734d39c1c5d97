"""Our models in the formats of other programs, and theirs in ours."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Set
from pathlib import Path

from wmt_transformer.config import UserError


@contextlib.contextmanager
def whole_folder(output: Path, option: str, replaced: Set[str] = frozenset()) -> Iterator[Path]:
    """Yields an empty folder that takes the place of `output` when it is complete, and goes away when it fails.

    `output` may be there already if it is empty or holds nothing but files that are named in `replaced`. Raises
    UserError, which names the command line's `option`, where it holds anything else or cannot be written.
    """
    output = output.resolve()
    new, old = (output.with_name(f".{output.name}.{os.getpid()}.{word}") for word in ("new", "old"))
    if output.exists() and not output.is_dir():
        raise UserError(f"{output} is a file; choose another {option}")
    found = sorted(path.name for path in output.iterdir()) if output.is_dir() else []
    if strange := [name for name in found if name not in replaced]:
        raise UserError(f"{output} holds {', '.join(strange[:3])} already; choose another {option}")
    try:
        new.mkdir(parents=True)
        yield new
        if output.exists():
            output.rename(old)
        new.rename(output)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}") from error
    finally:
        if old.exists() and not output.exists():
            old.rename(output)
        for folder in (new, old):
            shutil.rmtree(folder, ignore_errors=True)
