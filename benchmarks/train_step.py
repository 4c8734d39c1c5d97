"""Measures our training step against a plain PyTorch `nn.Transformer` step, in one run.

    python benchmarks/train_step.py [--sizes tiny-20x128,tiny-32x80,base-32x32] [--only ours|torch]
        [--dtype float32|bfloat16] [--json]

Both sides get the same sizes, batch, Adam (PyTorch's fused one), schedule, label smoothing 0.1, dropout 0.1 and
tied embeddings. Products are float32, or bfloat16: PyTorch's then by its autocast. Each side has a process of its
own, set up as its users run it, and they take turns, A B A B, so that a machine that is busy for a while is busy for
both. Dropout acts where the paper puts it; left alone, `nn.Transformer` also drops attention weights and the
feed-forward network's hidden layer, which slows it down (`--dropout everywhere` does that on both sides). What stays
different: `nn.Transformer` has biases in its attention and one more layer norm after each stack. Our training tells
glibc to keep freed memory for the next step; `--torch-keeps-memory` does the same to PyTorch, which does not do it
by itself.

A token is a slot of the batch, on either side: rows x (source length + target length); none is padding here.
The share of peak is the model's floating-point operations by formula (6 per weight and token, and attention,
without a discount for the causal mask) over what this machine reaches in float32 matrix products, which is
measured before and after every case. PyTorch comes with the `interop` extra.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Literal, Protocol, get_args

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # both sides on the same processor

import numpy as np

from wmt_transformer.config import MeshConfig, ModelConfig, TrainConfig


@dataclasses.dataclass(frozen=True)
class Case:
    """One model on one shape of batch: `rows` sentence pairs of `length` slots on each side."""

    d_model: int
    d_ff: int
    num_heads: int
    num_layers: int
    vocabulary_size: int
    rows: int
    length: int

    @property
    def tokens(self) -> int:
        """Slots of a step, source and target."""
        return 2 * self.rows * self.length

    @property
    def flops(self) -> float:
        """Floating-point operations of the model in one step, forward and backward."""
        d, side = self.d_model, self.rows * self.length
        encoder = 4 * d * d + 2 * d * self.d_ff
        decoder = 8 * d * d + 2 * d * self.d_ff  # its cross-attention's keys and values are of the source
        weights = self.num_layers * (encoder + decoder) + d * self.vocabulary_size
        attention = self.num_layers * 3 * 2 * self.length * d  # scores and sums of three attentions a layer pair
        return 6.0 * side * (weights + attention)


CASES = {
    "tiny-20x128": Case(128, 256, 4, 4, 8000, 20, 128),
    "tiny-32x80": Case(128, 256, 4, 4, 8000, 32, 80),
    "base-32x32": Case(512, 2048, 8, 6, 32000, 32, 32),
}
WARMUP_STEPS = 4000
Dtype = Literal["float32", "bfloat16"]


class Side(Protocol):
    """One of the two that are compared."""

    def step(self) -> None:
        """Starts one update."""
        ...

    def loss(self) -> float:
        """Waits until the last update is done; returns its loss in nats a token."""
        ...


class Ours:
    """This project's step, as `train/loop.py` runs it."""

    def __init__(self, case: Case, dropout: str, dtype: Dtype) -> None:
        from wmt_transformer.data.batches import Batch
        from wmt_transformer.model.transformer import Transformer
        from wmt_transformer.train import optimizer, sharding, state, step

        width, everywhere = case.d_model // case.num_heads, 0.1 if dropout == "everywhere" else 0.0
        model = Transformer(
            ModelConfig(
                vocabulary_size=case.vocabulary_size,
                num_layers=case.num_layers,
                d_model=case.d_model,
                d_ff=case.d_ff,
                num_heads=case.num_heads,
                d_k=width,
                d_v=width,
                dropout=0.1,
                attention_dropout=everywhere,
                relu_dropout=everywhere,
                compute_dtype=dtype,
            )
        )
        train, mesh = TrainConfig(warmup_steps=WARMUP_STEPS), sharding.make_mesh(MeshConfig())
        adam = optimizer.optimizer(train, case.d_model)
        self._batch = sharding.place_batch(Batch(*random_tokens(case)), mesh)
        self._state = state.initial_state(model, adam, mesh, seed=1)
        self._step = step.make_train_step(model, adam, train, mesh)

    def step(self) -> None:
        self._state, self._metrics = self._step(self._state, self._batch)

    def loss(self) -> float:
        return float(self._metrics.sums.loss) / float(self._metrics.sums.tokens)


class Torch:
    """`torch.nn.Transformer` between tied embeddings, eager, as its tutorial trains it."""

    def __init__(self, case: Case, dropout: str, dtype: Dtype) -> None:
        import torch
        from torch import nn

        from wmt_transformer.model.layers import sinusoids

        torch.manual_seed(1)
        vocabulary, d_model = case.vocabulary_size, case.d_model
        stack = nn.Transformer(
            d_model,
            case.num_heads,
            case.num_layers,
            case.num_layers,
            case.d_ff,
            dropout=0.1,
            batch_first=True,
        )
        if dropout == "paper":
            layers: list[Any] = [*stack.encoder.layers, *stack.decoder.layers]
            for layer in layers:
                layer.dropout.p = 0.0  # the one after the ReLU; dropout1 to 3 are on the sub-layers' outputs
                layer.self_attn.dropout = 0.0
                if hasattr(layer, "multihead_attn"):
                    layer.multihead_attn.dropout = 0.0
        for weights in stack.parameters():
            if weights.dim() > 1:
                nn.init.xavier_uniform_(weights)
        table = nn.Parameter(torch.randn(vocabulary, d_model) * d_model**-0.5)
        positions = torch.from_numpy(sinusoids(case.length, d_model))
        source, target = (torch.from_numpy(side).long() for side in random_tokens(case))
        inputs = torch.cat([torch.ones_like(target[:, :1]), target[:, :-1]], dim=1)
        causal = stack.generate_square_subsequent_mask(case.length)

        def embed(tokens: Any) -> Any:
            x = nn.functional.embedding(tokens, table) * d_model**0.5 + positions
            return nn.functional.dropout(x, 0.1)

        def loss() -> Any:
            padding = source == 0  # no slot is padding here, but a step that translates has to look
            states = stack(
                embed(source),
                embed(inputs),
                tgt_mask=causal,
                tgt_is_causal=True,
                src_key_padding_mask=padding,
                memory_key_padding_mask=padding,
            )
            logits = nn.functional.linear(states, table).view(-1, vocabulary)
            return nn.functional.cross_entropy(logits, target.view(-1), ignore_index=0, label_smoothing=0.1)

        self._compute, self._autocast = loss, torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16")
        rate = d_model**-0.5
        parameters = [table, *stack.parameters()]
        self._adam = torch.optim.Adam(parameters, lr=rate, betas=(0.9, 0.98), eps=1e-9, fused=True)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._adam, lambda done: min((done + 1) ** -0.5, (done + 1) * WARMUP_STEPS**-1.5)
        )

    def step(self) -> None:
        self._adam.zero_grad(set_to_none=True)
        with self._autocast:
            self._last = self._compute()
        self._last.backward()
        self._adam.step()
        self._schedule.step()

    def loss(self) -> float:
        return self._last.item()


SIDES: dict[str, Callable[[Case, str, Dtype], Side]] = {"ours": Ours, "torch": Torch}


def random_tokens(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Returns source and target, int32 `[rows, length]`, of pieces that are neither PAD nor BOS."""
    shape = (2, case.rows, case.length)
    source, target = np.random.default_rng(0).integers(3, case.vocabulary_size, shape, dtype=np.int32)
    return source, target


def peak_flops() -> float:
    """Returns the floating-point operations a second of the better of two jitted float32 matrix products."""
    import jax
    import jax.numpy as jnp

    best = 0.0
    for n in (1024, 2048):
        product, x = jax.jit(jnp.matmul), jnp.ones((n, n), jnp.float32)
        product(x, x).block_until_ready()
        for _ in range(10):
            start = time.perf_counter()
            product(x, x).block_until_ready()
            best = max(best, 2.0 * n**3 / (time.perf_counter() - start))
    return best


def serve(orders: Connection, name: str, case: Case, dropout: str, dtype: Dtype, keep_memory: bool) -> None:
    """Runs one side in this process: sends how its start went, then answers every number of seconds it is given with
    the mean time of a step and the last loss, until it is given None."""
    if keep_memory:
        from wmt_transformer.train.memory import keep_freed_memory

        keep_freed_memory()
    start = time.perf_counter()
    side = SIDES[name](case, dropout, dtype)
    built = time.perf_counter()
    side.step()
    first_loss = side.loss()
    first_step = time.perf_counter() - built
    orders.send({"first_loss": first_loss, "seconds_to_build": built - start, "seconds_of_first_step": first_step})
    while (seconds := orders.recv()) is not None:
        start, steps, loss = time.perf_counter(), 0, 0.0
        while steps < 2 or time.perf_counter() - start < seconds:
            side.step()
            loss = side.loss()
            steps += 1
        orders.send(((time.perf_counter() - start) / steps, loss))


def measure(case: Case, names: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """Returns the figures of one case: tokens/s and time to first step of each side, and the ratio."""
    spawn = multiprocessing.get_context("spawn")
    result: dict[str, Any] = {**dataclasses.asdict(case), "model_gflops": case.flops / 1e9}
    sides: dict[str, Connection] = {}
    for name in names:
        sides[name], theirs = spawn.Pipe()
        keep_memory = name == "ours" or options.torch_keeps_memory  # as `train` does, and as PyTorch does not
        arguments = (theirs, name, case, options.dropout, options.dtype, keep_memory)
        spawn.Process(target=serve, args=arguments, daemon=True).start()
        theirs.close()
        result[name] = sides[name].recv()
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(options.rounds):
        for name, side in sides.items():
            side.send(options.seconds)
            step_seconds, result[name]["last_loss"] = side.recv()
            times[name].append(step_seconds)
    for name, side in sides.items():
        side.send(None)
        typical = statistics.median(times[name])
        result[name] |= {
            "seconds_per_step": typical,
            "seconds_per_step_of_each_round": times[name],
            "tokens_per_second": case.tokens / typical,
            "gflops": case.flops / typical / 1e9,
        }
    if len(names) == 2:
        result["ratio"] = statistics.median(b / a for a, b in zip(times["ours"], times["torch"], strict=True))
    return result


def table(report: dict[str, Any]) -> Any:
    """Returns the report as a rich table."""
    from rich.table import Table

    shown = Table(title=f"{report['cores']} cores, float32 matrix products {report['peak_gflops']:.0f} GFLOP/s")
    shown.add_column("case", no_wrap=True)
    shown.add_column("side")
    for column in ("tokens/s", "step ms", "of peak", "build s", "first s", "ratio"):
        shown.add_column(column, justify="right")
    for case, result in report["cases"].items():
        for name in (name for name in SIDES if name in result):
            side = result[name]
            numbers = [f"{side['tokens_per_second']:,.0f}", f"{side['seconds_per_step'] * 1000:.0f}"]
            numbers += [f"{side['share_of_peak']:.0%}", f"{side['seconds_to_build']:.1f}"]
            ratio = f"{result['ratio']:.2f}" if "ratio" in result and name == "ours" else ""
            shown.add_row(case, name, *numbers, f"{side['seconds_of_first_step']:.1f}", ratio)
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=",".join(CASES), help="cases, with commas between (default: all)")
    parser.add_argument("--only", choices=list(SIDES), help="measure one side alone")
    parser.add_argument("--dropout", choices=["paper", "everywhere"], default="paper")
    parser.add_argument("--dtype", choices=get_args(Dtype), default="float32", help="of the matrix products")
    parser.add_argument("--torch-keeps-memory", action="store_true", help="give PyTorch our setting of malloc")
    parser.add_argument("--rounds", type=int, default=4, help="turns of each side (default: 4)")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a turn (default: 5)")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    options = parser.parse_args()
    wanted = options.sizes.split(",")
    if unknown := sorted(set(wanted) - set(CASES)):
        parser.error(f"there is no size {unknown[0]!r}; there are {', '.join(CASES)}")
    names = [options.only] if options.only else list(SIDES)
    if "torch" in names:
        try:
            import torch  # noqa: F401
        except ImportError:
            parser.error("PyTorch is not installed: pip install 'wmt-transformer[interop]', or give --only ours")

    from rich.console import Console

    console, peaks, cases = Console(stderr=True), [peak_flops()], {}
    for name in wanted:
        with console.status(f"measuring {name}"):
            cases[name] = measure(CASES[name], names, options)
            peaks.append(peak_flops())
    report = {
        "cores": os.cpu_count(),
        "peak_gflops": max(peaks) / 1e9,
        "dropout": options.dropout,
        "dtype": options.dtype,
        "torch_keeps_memory": options.torch_keeps_memory,
        "cases": cases,
    }
    for case in cases.values():
        for name in names:
            case[name]["share_of_peak"] = case[name]["gflops"] / report["peak_gflops"]
    console.print(table(report))
    if options.json:
        json.dump(report, sys.stdout)
        print()


if __name__ == "__main__":
    main()
