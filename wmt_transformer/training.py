"""A run by one call: the data is prepared, the model trained and evaluated on the way, all in one work folder.

This is what `wmt-transformer train` does, for programs and notebooks: the stages below know nothing of each other, and
here they are put together. A run that was stopped goes on when it is called again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from wmt_transformer import checkpoint_records, experiment, parent
from wmt_transformer.compilation import use_compilation_cache
from wmt_transformer.config import Config
from wmt_transformer.files import gone_if_failed, locked, whole_file
from wmt_transformer.parent import Parent

if TYPE_CHECKING:  # it brings JAX, whose threads must not start before `keep_freed_memory`
    from wmt_transformer.train.loop import Outcome

FINGERPRINTS = "fingerprints.json"


def silent(line: str) -> None:
    """Takes a line for people and says nothing."""


def train(
    config: Config,
    workdir: Path,
    say: Callable[[str], None] = silent,
    profile: bool = False,
    *,
    start: str | Parent | None = None,
) -> Outcome:
    """Trains the config's model in `workdir`, or goes on with the run that is there; returns how it ended.

    The folder is locked while it is trained in. Where several processes are connected (`train.hosts.start`), all of
    them call this. Lines for people are given to `say` in process 0; `profile` traces a few steps. A new run starts
    from the weights, architecture and vocabulary of the run `start` where one is given: RUN or RUN@CHECKPOINT, or a
    Parent, which may say that the optimiser is kept.

    Raises UserError for a corpus that cannot be used, and where the folder holds a run of another config or from
    another start, or is in use.
    """
    from wmt_transformer.train.memory import keep_freed_memory

    keep_freed_memory()  # before JAX starts its threads
    from wmt_transformer import checkpoint
    from wmt_transformer.data import fingerprint
    from wmt_transformer.data.runs import prepare_data
    from wmt_transformer.evaluate.during_training import evaluation
    from wmt_transformer.model.attention import check_attention
    from wmt_transformer.train import hosts, loop

    checkpoint_records.readable_path(workdir / "checkpoints")  # before the long work
    use_compilation_cache()
    start = parent.named(start) if isinstance(start, str) else start
    parent.check(workdir, start)
    config = parent.inherited(config, workdir, start)
    check_attention(config.model)
    with contextlib.ExitStack() as held:
        with hosts.main_first("preparing the data", say):
            if hosts.is_main():
                held.enter_context(gone_if_failed(workdir))
                held.enter_context(locked(workdir))
            experiment.check_same_run(workdir, config)
            prepared = prepare_data(config, workdir, say if hosts.is_main() else silent)
            if (origin := start or parent.of(workdir)) and hosts.is_main() and not checkpoint.steps(workdir):
                parent.begin(origin, workdir, config, say)
        found = fingerprint.of(prepared.folder)
        for name, digest in found.items():
            hosts.check_same(f"the prepared {name}", digest)
        _bind(workdir, found, hosts.is_main())
        model = dataclasses.replace(config.model, vocabulary_size=len(prepared.vocabulary))
        config = dataclasses.replace(config, model=model)
        if hosts.is_main():
            with whole_file(workdir / "config.json") as out:
                out.write(experiment.to_json(config))
        return loop.train(config, workdir, prepared, evaluation(config, prepared, say), profile)


def _bind(workdir: Path, found: Mapping[str, str], write: bool) -> None:
    """Keeps the fingerprints of the run's data beside its config; raises UserError where they were others.

    A run that has no checkpoint yet, or that an older version made without fingerprints, takes on what there is.
    """
    from wmt_transformer import checkpoint
    from wmt_transformer.data import fingerprint

    path = workdir / FINGERPRINTS
    if path.is_file() and checkpoint.steps(workdir):
        fingerprint.check(experiment.json_object(path), found, f"the run in {workdir}")
    if write:
        with whole_file(path) as out:
            out.write(json.dumps(found, indent=2) + "\n")
