"""The others, on the same card and the same work: PyTorch's training, eager and compiled, and transformers' Marian."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from typing import Any

import gpu_cases as cases
import numpy as np
from gpu_cases import Case, Context

from wmt_transformer.data.vocabulary import BOS, EOS, PAD


def place() -> tuple[str, Callable[[], None]]:
    """Returns where PyTorch computes, and what waits for it."""
    import torch

    return ("cuda", torch.cuda.synchronize) if torch.cuda.is_available() else ("cpu", lambda: None)


def torch_loss(context: Context) -> None:
    """Compares PyTorch's loss with ours, of the same weights and batch, in float32: both do the same work."""
    import gpu_torch
    import torch
    from gpu_ours import random_params

    kept = np.load(context.work / "loss.npz")
    size = dataclasses.replace(cases.models(context.smoke)["base"], attention="explicit")
    module = gpu_torch.Transformer(size, 16)
    gpu_torch.take(module, random_params(size))
    where, _ = place()
    module = module.to(where).eval()
    with torch.inference_mode():
        loss = module(*(torch.from_numpy(kept[side]).long().to(where) for side in ("source", "target"))).item()
    ours = float(kept["loss"])
    context.emit(torch=loss, ours=ours, equal=abs(loss - ours) < 1e-4 * ours)


def train(context: Context, length: int, compiled: bool) -> None:
    """Measures PyTorch's step of every size on rows of `length`: autocast, fused Adam, the same schedule."""
    from wmt_transformer.train import chips

    side = "torch compiled" if compiled else "torch"
    for case in cases.cases(length, context.smoke):
        try:
            peak = chips.peak(_device())
            context.emit(side=side, **_step_figures(case, compiled, peak and peak.flops, context.smoke))
        except Exception as error:
            context.emit(side=side, size=case.size, length=length, error=f"{type(error).__name__}: {error}"[:600])


def _device() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def _step_figures(case: Case, compiled: bool, flops: float | None, smoke: bool) -> dict[str, Any]:
    import gpu_torch
    import torch

    torch.manual_seed(1)
    torch.set_float32_matmul_precision("high")
    where, wait = place()
    on_card = where == "cuda"
    module = gpu_torch.Transformer(case.model, case.length).to(where).train()
    source, target = (torch.from_numpy(side).long().to(where) for side in case.batch())
    adam = torch.optim.Adam(module.parameters(), lr=case.model.d_model**-0.5, betas=(0.9, 0.98), eps=1e-9, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(adam, lambda done: min((done + 1) ** -0.5, (done + 1) * 4000**-1.5))
    # Without a card there is nothing that the compiler's kernels would tell: its front end alone is tried.
    forward: Any = torch.compile(module, backend="inductor" if on_card else "eager") if compiled else module
    last: list[Any] = [None]
    if on_card:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()

    def run() -> None:
        adam.zero_grad(set_to_none=True)
        with torch.autocast(where, torch.bfloat16):
            last[0] = forward(source, target)
        last[0].backward()
        adam.step()
        schedule.step()

    begin = time.perf_counter()
    run()
    wait()
    first = time.perf_counter() - begin
    seconds, rounds = cases.timed(run, wait, 0.1 if smoke else 3.0)
    return {
        **case.figures(seconds, flops),
        "rounds_ms": [one * 1e3 for one in rounds],
        "compile_seconds": first,
        "peak_bytes": torch.cuda.max_memory_allocated() if on_card else None,
        "loss": last[0].item(),
    }


def marian(context: Context) -> None:
    """Measures `MarianMTModel.generate` on the weights that our decoding was measured with, and compares outputs."""
    import torch
    from gpu_ours import decode_rows

    if not (context.work / "outputs.json").is_file():
        raise RuntimeError("our decoding left no weights to compare on")
    ours = json.loads((context.work / "outputs.json").read_text("utf-8"))
    model, where = _marian(context), place()[0]
    with torch.inference_mode():
        theirs = _generate(model.to(where), len(ours))
        context.emit(compared=len(ours), equal_outputs=cases.same(ours, theirs))
        model = model.to(torch.bfloat16)
        for rows in decode_rows(context.smoke):
            held: list[Any] = []

            def run(rows: int = rows, held: list[Any] = held) -> None:
                held[:] = _generate(model, rows)  # lists of ids: it waits for the device

            took, rounds = cases.timed(run, lambda: None, 0.1 if context.smoke else 2.0, least=1)
            tokens = sum(map(len, held))
            figures = {"rows": rows, "dtype": "bfloat16", "tokens": tokens, "seconds": took, "rounds": rounds}
            context.emit(side="transformers", beam=cases.BEAM, **figures, tokens_per_second=tokens / took)


def _marian(context: Context) -> Any:
    from transformers import MarianMTModel

    loaded: Any = MarianMTModel.from_pretrained(context.work / "marian")
    loaded.generation_config.update(bad_words_ids=[[PAD], [BOS]], forced_eos_token_id=None, max_length=None)
    return loaded.eval()


def _generate(model: Any, rows: int) -> list[list[int]]:
    import torch

    sources = torch.tensor(cases.sentences(rows, model.config.vocab_size), device=model.device)
    found = model.generate(
        sources,
        attention_mask=torch.ones_like(sources),
        num_beams=cases.BEAM,
        length_penalty=cases.ALPHA,
        do_sample=False,
        max_new_tokens=cases.OUTPUT_LENGTH,
        min_new_tokens=cases.OUTPUT_LENGTH,
    )[:, 1:].tolist()
    return [ids[: ids.index(EOS) + 1] if EOS in ids else ids for ids in found]
