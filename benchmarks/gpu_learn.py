"""Learns on a card: Multi30k for as many epochs as published, and base on all pairs for the rest of the time.

Steps, batches, decoding and scores are the project's own. The loop is not: it keeps no checkpoints on disk, sums
snapshots on the card instead, and stops by the clock. Every shape of batch is compiled before, side by side. What comes
back of a model is float16; the scores are of that.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gpu_corpus as corpus
import numpy as np
from gpu_cases import Context

from wmt_transformer.config import Config
from wmt_transformer.data.batches import Batch, Batches
from wmt_transformer.data.prepare import Prepared, open_prepared
from wmt_transformer.data.vocabulary import PAD

EPOCHS = 150
"""After which 41.02 tokenised BLEU were published for Multi30k's tiny model."""
PIECE = 15 << 20
"""Bytes of a file that comes back, at most."""


def multi30k(context: Context) -> None:
    """Trains `multi30k_en_de` from up to three seeds, as time allows, and scores each."""
    config, prepared, tests = _opened(context, "multi30k", corpus.multi30k_config(context.smoke))
    end = time.monotonic() + context.seconds
    run = Learner(config, prepared)
    context.emit(compile_seconds=run.compile_seconds, shapes=[list(shape) for shape in run.batches(1).shapes])
    score = Scorer(config, prepared, {"multi30k": tests["multi30k"]})
    steps = run.batches(1).batches_per_epoch * (2 if context.smoke else EPOCHS)
    reserve, longest = min(60.0, context.seconds / 4), 0.0
    for seed in (1, 2, 3):
        begin = time.monotonic()
        if seed > 1 and begin + 1.1 * longest > end:
            context.emit(seed=seed, left_out=f"{end - begin:.0f} s left, one takes {longest:.0f} s")
            continue
        params, told = run(seed, steps, end - reserve)
        told |= {"seed": seed, "epochs": told["steps"] / run.batches(seed).batches_per_epoch}
        model = rounded(params)
        context.emit(**told, scores=score(widened(model)))
        if seed == 1:
            save(model, context.output / "multi30k.npz")
        longest = max(longest, time.monotonic() - begin)


def pairs(context: Context) -> None:
    """Trains base on all pairs for the time there is, and scores it on every test set."""
    config, prepared, tests = _opened(context, "pairs", corpus.pairs_config(context.smoke))
    end = time.monotonic() + context.seconds
    run = Learner(config, prepared)
    context.emit(compile_seconds=run.compile_seconds, shapes=[list(shape) for shape in run.batches(1).shapes])
    steps = 6 if context.smoke else 100_000
    params, told = run(1, steps, end - min(100.0, context.seconds / 2))
    model = rounded(params)
    files = save(model, context.output / "pairs.npz")
    told |= {"epochs": told["steps"] / run.batches(1).batches_per_epoch, "files": files}
    context.emit(**told)
    score = Scorer(config, prepared, tests)
    context.emit(scores=score(widened(model)))


def _opened(context: Context, name: str, config: Config) -> tuple[Config, Prepared, dict[str, list[tuple[str, str]]]]:
    assert context.data is not None
    prepared = open_prepared(context.data / name)
    model = dataclasses.replace(config.model, vocabulary_size=len(prepared.vocabulary))
    decode = dataclasses.replace(config.decode, batch_tokens=4096 if context.smoke else 1 << 19)
    tests = json.loads((context.data / "tests.json").read_text("utf-8"))
    return dataclasses.replace(config, model=model, decode=decode), prepared, tests


class Learner:
    """A config's train step, compiled for every shape of its batches."""

    def __init__(self, config: Config, prepared: Prepared) -> None:
        import jax

        from wmt_transformer.model.build import build
        from wmt_transformer.train import optimizer, sharding, state, step

        self._config, self._prepared = config, prepared
        self._mesh = sharding.make_mesh(config.mesh, jax.devices()[:1])
        model, adam = build(config.model), optimizer.optimizer(config.train, config.model.d_model)
        train: Any = step.make_train_step(model, adam, config.train, self._mesh)
        self._place = lambda batch: sharding.place_batch(batch, self._mesh)
        self._start = lambda seed: state.initial_state(model, adam, self._mesh, seed)
        begin = time.monotonic()
        with jax.set_mesh(self._mesh):
            places = state.abstract_state(model, adam, self._mesh)
            shapes = self.batches(1).shapes
            lowered = [train.lower(places, self._place(_empty(*shape))) for shape in shapes]
        with ThreadPoolExecutor(len(lowered)) as pool:
            compiled = pool.map(lambda one: one.compile(), lowered)
            self._compiled = dict(zip(map(tuple, shapes), compiled, strict=True))
        self.compile_seconds = time.monotonic() - begin

    def batches(self, seed: int) -> Batches:
        """Returns the batches of a seed; their shapes are the same for all."""
        data = self._config.data
        most = data.source_tokens, data.target_tokens, data.num_shapes, data.batch_multiple
        return Batches(self._prepared.train, *most, seed)

    def __call__(self, seed: int, steps: int, until: float) -> tuple[Any, dict[str, Any]]:
        """Trains for this many steps or until a moment of the monotonic clock; returns the mean of the last snapshots
        and what there is to tell. The seed is that of parameters and order; dropout's is the config's."""
        import jax
        import jax.numpy as jnp

        settings, batches, curve = self._config.train, self.batches(seed), []
        snapshots: deque[Any] = deque(maxlen=settings.average_last)
        with jax.set_mesh(self._mesh):
            state = self._start(seed)
            jax.block_until_ready(state)
            begin, now, tokens = time.monotonic(), 0, 0
            for batch in ahead(batches, steps):
                state, measured = self._compiled[(*batch.source.shape, batch.target.shape[1])](
                    state, self._place(batch)
                )
                now, tokens = now + 1, tokens + int((batch.target != PAD).sum())
                if now % settings.checkpoint_every == 0:
                    snapshots.append(jax.tree.map(jnp.copy, state.params))  # the next step reuses the state's memory
                    loss = float(measured.sums.loss) / float(measured.sums.tokens)  # waits: steps cannot run far ahead
                    curve.append([now, round(time.monotonic() - begin, 2), round(loss, 4)])
                    if time.monotonic() > until:
                        break
            if not snapshots:
                snapshots.append(state.params)
            mean = jax.tree.map(lambda *parts: sum(parts) / len(parts), *snapshots)
            jax.block_until_ready(mean)
        seconds = time.monotonic() - begin
        told = {"steps": now, "seconds": seconds, "target_tokens_per_second": tokens / seconds, "curve": curve}
        return mean, {**told, "averaged": len(snapshots), "padding": 1 - batches.real_token_share}


def _empty(rows: int, source: int, target: int) -> Batch:
    return Batch(np.zeros((rows, source), np.int32), np.zeros((rows, target), np.int32))


def ahead(batches: Batches, steps: int) -> Iterator[Batch]:
    """Yields the batches of the first steps, made ahead by two threads."""
    waiting: deque[Future[Batch]] = deque()
    with ThreadPoolExecutor(2) as pool:
        for step in range(steps):
            waiting.append(pool.submit(batches.__getitem__, step))
            if len(waiting) == 16:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class Scorer:
    """Translates test sets with parameters (beam 4, alpha 0.6) and scores them."""

    def __init__(self, config: Config, prepared: Prepared, tests: Mapping[str, list[tuple[str, str]]]) -> None:
        self._config, self._prepared, self._tests = config, prepared, tests
        self._translator: Any = None

    def __call__(self, params: Any) -> dict[str, Any]:
        from wmt_transformer.decode.generate import Translator
        from wmt_transformer.evaluate import bleu

        self._translator = self._translator or Translator(self._config, params, self._prepared.vocabulary)
        self._translator.params = params
        begin = time.monotonic()
        # All sets in one call: fewer shapes to compile.
        hypotheses = iter(self._translator.translate([pair[0] for pairs in self._tests.values() for pair in pairs]))
        scores: dict[str, Any] = {"seconds": time.monotonic() - begin}
        for name, pairs in self._tests.items():
            output, references = [next(hypotheses) for _ in pairs], [pair[1] for pair in pairs]
            value, signature = bleu.sacrebleu_score(output, references)
            lower: float | str = "sacremoses is not installed"
            if importlib.util.find_spec("sacremoses"):
                lower = bleu.tokenized_lowercase_bleu(output, references, "de")
            scores[name] = {"sacrebleu": value, "signature": signature, "tokenized_lowercase_bleu": lower}
            scores[name]["translations"] = output
        return scores


# ------------------------------------------------------------------------------------------------ what comes back


def rounded(params: Any) -> dict[str, np.ndarray]:
    """Returns parameters by path, as float16."""
    import jax

    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf, np.float16) for path, leaf in leaves
    }


def widened(arrays: Mapping[str, np.ndarray]) -> Any:
    """Returns the tree that `rounded` was given, of what it kept."""
    import jax.numpy as jnp

    tree: dict[str, Any] = {}
    for path, array in arrays.items():
        *folders, name = path.split("/")
        inner = tree
        for folder in folders:
            inner = inner.setdefault(folder, {})
        inner[name] = jnp.asarray(array, jnp.float32)
    return tree


def save(arrays: Mapping[str, np.ndarray], path: Path) -> list[str]:
    """Writes arrays as one .npz, or, where that is too large for a file, as pieces that `cat` makes one of."""
    whole = io.BytesIO()
    np.savez(whole, allow_pickle=False, **arrays)
    content = whole.getvalue()
    starts = range(0, len(content), PIECE)
    files = [path] if len(starts) == 1 else [path.with_name(f"{path.name}.{i}") for i in range(len(starts))]
    for file, start in zip(files, starts, strict=True):
        file.write_bytes(content[start : start + PIECE])
    return [file.name for file in files]


def restore(kind: str, files: list[Path], data: Path, workdir: Path) -> None:
    """Makes a run of a model that came back: a work folder that `translate` and the exports take."""
    import shutil

    from wmt_transformer import checkpoint, experiment

    make: Callable[[bool], Config] = {"multi30k": corpus.multi30k_config, "pairs": corpus.pairs_config}[kind]
    arrays = np.load(io.BytesIO(b"".join(file.read_bytes() for file in files)))
    params, config = widened(arrays), make(False)
    shutil.copytree(data / kind, workdir / "data")
    model = dataclasses.replace(config.model, vocabulary_size=params["target_embedding"]["table"].shape[0])
    checkpoint.write_params(workdir, 1, params)
    (workdir / "config.json").write_text(experiment.to_json(dataclasses.replace(config, model=model)), "utf-8")
