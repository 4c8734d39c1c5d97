"""Our side: what the device can do, whether we are right on it, and how fast we train and decode."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gpu_cases as cases
import numpy as np
from gpu_cases import Case, Context

from wmt_transformer.config import Config, DecodeConfig, MeshConfig, ModelConfig, TrainConfig
from wmt_transformer.data.batches import Batch
from wmt_transformer.data.vocabulary import BOS, PAD

LOSS_STEPS = 20


def device(context: Context) -> None:
    """What the card reaches: bfloat16 matrix products, and its memory's bandwidth."""
    import jax
    import jax.numpy as jnp

    from wmt_transformer.train import chips

    card = jax.devices()[0]
    n, numbers = (256, 1 << 18) if context.smoke else (8192, 1 << 29)
    x = jax.random.normal(jax.random.key(0), (n, n), jnp.bfloat16)
    long, kept = jnp.zeros(numbers, jnp.float32), [x]

    def rate(function: Callable[..., Any], *arguments: Any) -> float:
        compiled = jax.jit(function)

        def run() -> None:
            kept[0] = compiled(*arguments)

        return cases.timed(run, lambda: kept[0].block_until_ready(), 0.1 if context.smoke else 1.0)[0]

    peak = chips.peak(card.device_kind)
    memory = (card.memory_stats() or {}).get("bytes_limit") if card.platform == "gpu" else None
    context.emit(
        device=card.device_kind,
        platform=card.platform,
        bytes_limit=memory,
        matmul_flops=2 * n**3 / rate(jnp.matmul, x, x),
        bandwidth=2 * long.nbytes / rate(lambda a: a + 1, long),
        peak_flops=peak and peak.flops,
        peak_bandwidth=peak and peak.bandwidth,
    )


# ------------------------------------------------------------------------------------------------------ correctness


def losses_here(smoke: bool) -> list[float]:
    """Returns the losses a token of the first steps of a small model in float32: the same numbers on any device, up
    to rounding."""
    import jax

    jax.config.update("jax_default_matmul_precision", "highest")  # a GPU would multiply float32 in TensorFloat-32
    larger: Any = {} if smoke else dict(vocabulary_size=500, num_layers=2, d_model=64, d_ff=128, d_k=32, d_v=32)
    case = Case("small", 24, 48, dataclasses.replace(cases.TINY, compute_dtype="float32", **larger))
    step, start, batch, mesh = trainer(case, TrainConfig(learning_rate=4.0, warmup_steps=40))
    values = []
    with jax.set_mesh(mesh):
        state = start()
        for _ in range(LOSS_STEPS):
            state, measured = step(state, batch)
            values.append(float(measured.sums.loss) / float(measured.sums.tokens))
    return values


def losses(context: Context) -> None:
    """Trains a small model here and on the CPU, in a process that sees no GPU, and compares the losses."""
    import jax

    program = f"import gpu_ours, json; print(json.dumps(gpu_ours.losses_here({context.smoke})))"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True) as child:
        here = losses_here(context.smoke)
        out, _ = child.communicate()
    if child.returncode:
        raise RuntimeError(f"the process on the CPU ended with code {child.returncode}")
    there = json.loads(out)
    worst = max(abs(a - b) for a, b in zip(here, there, strict=True))
    context.emit(
        platform=jax.default_backend(), steps=len(here), here=here, cpu=there, worst=worst, equal=bool(worst < 2e-3)
    )


def cached(context: Context) -> None:
    """Compares decoding step by step, from a cache, with teacher forcing; keeps a loss that PyTorch's has to equal."""
    import jax
    import jax.numpy as jnp

    from wmt_transformer.model.build import build
    from wmt_transformer.train.step import loss_sums

    jax.config.update("jax_default_matmul_precision", "highest")
    size = dataclasses.replace(cases.models(context.smoke)["base"], compute_dtype="float32", attention="explicit")
    model: Any = build(size)
    source, target = (cases.two_a_row(8, 16, size.vocabulary_size, seed) for seed in (3, 4))
    params = random_params(size)
    # For the cache a row is one sentence: EOS inside would begin another.
    alone = [np.where(tokens < 4, 5, tokens) for tokens in (source, target)]
    inputs = np.concatenate([np.full((8, 1), BOS, np.int32), alone[1][:, :-1]], axis=1)

    @jax.jit
    def step_by_step(params: Any) -> Any:
        cache, memory = model.apply({"params": params}, alone[0], 2, 16, method="start_cache")

        def step(cache: Any, index: Any) -> tuple[Any, Any]:
            tokens = jnp.repeat(jnp.asarray(inputs)[:, index][:, None], 2, axis=1)
            logits, cache = model.apply({"params": params}, tokens, index, cache, memory, method="step")
            return cache, logits

        return jnp.moveaxis(jax.lax.scan(step, cache, jnp.arange(16))[1], 0, 2)

    whole = jax.jit(lambda params: model.apply({"params": params}, *alone))(params)
    difference = float(jnp.abs(step_by_step(params) - whole[:, None]).max())
    largest = float(jnp.abs(whole).max())
    sums = jax.jit(lambda params: loss_sums(model, params, Batch(source, target), 0.1))(params)
    loss = float(sums.loss) / float(sums.tokens)
    np.savez(context.work / "loss.npz", source=source, target=target, loss=loss)
    context.emit(largest_logit=largest, difference=difference, equal=bool(difference < 1e-4 * largest), loss=loss)


def random_params(model: ModelConfig) -> Any:
    """Returns parameters drawn by NumPy: the same in every process, whatever computes with them."""
    import jax
    import jax.numpy as jnp

    from wmt_transformer.model.build import build

    tokens, random = jnp.ones((1, 2), jnp.int32), np.random.default_rng(1)
    shapes = jax.eval_shape(build(model).init, jax.random.key(0), tokens, tokens)["params"]

    def drawn(path: Any, shape: Any) -> np.ndarray:
        if path[-1].key in ("scale", "bias"):
            return np.full(shape.shape, float(path[-1].key == "scale"), np.float32)
        return random.standard_normal(shape.shape, np.float32) * np.float32(model.d_model**-0.5)

    return jax.tree_util.tree_map_with_path(drawn, shapes)


# --------------------------------------------------------------------------------------------------------- training


def trainer(case: Case, settings: TrainConfig) -> tuple[Any, Callable[[], Any], Any, Any]:
    """Returns the train step, what makes its first state, the batch on the device, and the mesh."""
    import jax

    from wmt_transformer.model.build import build
    from wmt_transformer.train import optimizer, sharding, state, step

    mesh = sharding.make_mesh(MeshConfig(), jax.devices()[:1])
    model, adam = build(case.model), optimizer.optimizer(settings, case.model.d_model)

    def start() -> Any:
        return state.initial_state(model, adam, mesh, settings.seed)

    return (
        step.make_train_step(model, adam, settings, mesh),
        start,
        sharding.place_batch(Batch(*case.batch()), mesh),
        mesh,
    )


def train(context: Context, length: int) -> None:
    """Measures the step of every size with every way to attend on rows of `length`; they are compiled side by side."""
    import jax

    from wmt_transformer.train import chips

    peak = chips.peak(jax.devices()[0].device_kind)
    wanted = [
        dataclasses.replace(case, model=dataclasses.replace(case.model, attention=attention))
        for case in cases.cases(length, context.smoke)
        for attention in cases.attention_choices(jax.default_backend())
    ]
    trained = [trainer(case, TrainConfig()) for case in wanted]

    def lowered(step: Any, start: Any, batch: Any, mesh: Any) -> Any:
        try:
            with jax.set_mesh(mesh):
                return step.lower(jax.eval_shape(start), batch)
        except Exception as error:  # one way to attend that is refused costs the others nothing
            return error

    def compiled_one(one: Any) -> Any:
        begin = time.perf_counter()
        try:
            return one if isinstance(one, Exception) else one.compile(), time.perf_counter() - begin
        except Exception as error:
            return error, time.perf_counter() - begin

    ready = [lowered(*one) for one in trained]  # here: a mesh in use is a thread's own
    with ThreadPoolExecutor(len(ready)) as pool:
        finished = list(pool.map(compiled_one, ready))
    for case, (_, start, batch, mesh), (compiled, seconds) in zip(wanted, trained, finished, strict=True):
        told = {"side": "ours", "attention": case.model.attention, "compile_seconds": seconds}
        told["compiled_together"] = len(wanted)
        try:
            if isinstance(compiled, Exception):
                raise compiled
            with jax.set_mesh(mesh):
                figures = step_figures(case, compiled, start, batch, peak and peak.flops, context.smoke)
            context.emit(**told, **figures)
        except Exception as error:
            context.emit(**told, size=case.size, length=length, error=f"{type(error).__name__}: {error}"[:600])


def step_figures(case: Case, compiled: Any, start: Any, batch: Any, flops: float | None, smoke: bool) -> dict[str, Any]:
    """Runs a compiled step and returns its figures."""
    import jax

    held = [start(), None]

    def run() -> None:
        held[0], held[1] = compiled(held[0], batch)

    seconds, rounds = cases.timed(run, lambda: jax.block_until_ready(held), 0.1 if smoke else 3.0)
    memory = compiled.memory_analysis()
    measured: Any = held[1]
    needed = memory and (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
    )
    return {
        **case.figures(seconds, flops),
        "rounds_ms": [one * 1e3 for one in rounds],
        "peak_bytes": needed,
        "loss": float(measured.sums.loss) / float(measured.sums.tokens),
    }


# --------------------------------------------------------------------------------------------------------- decoding


def decode_rows(smoke: bool) -> list[int]:
    """Returns how many sentences are decoded at once, the most telling first."""
    return [4] if smoke else [128, 32, 512, 1]


COMPARED = 32
"""Sentences whose outputs in float32 are compared with transformers'."""


def decode(context: Context) -> None:
    """Measures beam search from ids to ids, and leaves the weights as a Marian model for transformers."""
    import jax

    from wmt_transformer.data.vocabulary_files import load_vocabulary
    from wmt_transformer.decode import batched, runs
    from wmt_transformer.decode.lines import Part
    from wmt_transformer.interop import marian_export

    assert context.data is not None
    pieces = len(load_vocabulary(context.data / "speed"))
    # Marian's layer norm adds 1e-5 to the variance.
    size = dataclasses.replace(
        cases.models(context.smoke)["base"], vocabulary_size=pieces, norm_epsilon=1e-5, attention="explicit"
    )
    params = random_params(size)
    with contextlib.redirect_stdout(sys.stderr):
        marian_export.export(Config(model=size), params, context.data / "speed", context.work / "marian")

    def decoder(rows: int, dtype: Any) -> Callable[[], list[list[int]]]:
        model = dataclasses.replace(size, compute_dtype=dtype)
        weights = jax.device_put(runs.rounded(jax.tree.map(jax.numpy.asarray, params), dtype))
        parts = [Part(line, 0, "", ids, [], 0) for line, ids in enumerate(cases.sentences(rows, pieces), 1)]
        settings = DecodeConfig(
            beam_size=cases.BEAM,
            alpha=cases.ALPHA,
            extra_length=cases.OUTPUT_LENGTH - cases.SOURCE_LENGTH,
            batch_tokens=rows * cases.BEAM * 2 * cases.SOURCE_LENGTH,
        )

        def run() -> list[list[int]]:
            with jax.default_matmul_precision("highest" if dtype == "float32" else None):
                found = batched.decode((model,), (weights,), parts, batched.Request(settings))
            return [output.ids for [output] in found]

        return run

    compared = 4 if context.smoke else COMPARED
    wanted = [(rows, "bfloat16") for rows in decode_rows(context.smoke)] + [(compared, "float32")]
    decoders = [decoder(*one) for one in wanted]
    begin = time.perf_counter()
    with ThreadPoolExecutor(len(decoders)) as pool:
        outputs = list(pool.map(lambda run: run(), decoders))
    seconds = time.perf_counter() - begin
    (context.work / "outputs.json").write_text(json.dumps(outputs[-1]), "utf-8")
    for (rows, dtype), run, output in zip(wanted, decoders, outputs, strict=True):
        took, rounds = cases.timed(run, lambda: None, 0.1 if context.smoke else 2.0, least=1)
        tokens = sum(map(len, output))
        figures = {"rows": rows, "dtype": dtype, "tokens": tokens, "seconds": took, "rounds": rounds}
        figures |= {"side": "ours", "beam": cases.BEAM, "compile_seconds": seconds, "compiled_together": len(wanted)}
        context.emit(**figures, tokens_per_second=tokens / took, padding=int(sum(i == PAD for o in output for i in o)))
