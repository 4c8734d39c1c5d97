"""Planning: the HLO reader on small programs, figures by hand count, a compile for devices that are not there."""

import dataclasses
import importlib.util
import json
import math
from typing import Any

import fakes
import jax
import jax.numpy as jnp
import pytest
from commands import refused, run

from wmt_transformer.config import Config, DataConfig, MeshConfig, ModelConfig, TrainConfig
from wmt_transformer.data.batches import Batch
from wmt_transformer.data.shapes import Shape
from wmt_transformer.model.transformer import Transformer
from wmt_transformer.plan import compiled, hlo, report, roofline, topologies
from wmt_transformer.train import chips
from wmt_transformer.train.step import loss_sums

# A loop of three trips around an all-reduce of 2 x 4 x 4 bytes, and an all-gather of 2 to 8 rows outside of it.
PROGRAM = """HloModule jit_step, entry_computation_layout={()->f32[]}

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%cut (p0: f32[3,2,4], p1: s32[]) -> f32[2,4] {
  %p0 = f32[3,2,4]{2,1,0:T(8,128)} parameter(0)
  %p1 = s32[] parameter(1)
  %slice = f32[1,2,4]{2,1,0:T(8,128)} dynamic-slice(%p0, %p1, %p1, %p1), dynamic_slice_sizes={1,2,4}
  ROOT %flat = f32[2,4]{1,0:T(8,128)S(1)} bitcast(%slice)
}

%body (carry: (s32[], f32[3,2,4])) -> (s32[], f32[3,2,4]) {
  %carry = (s32[], /*index=1*/f32[3,2,4]{2,1,0:T(8,128)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%carry), index=0
  %x = f32[3,2,4]{2,1,0:T(8,128)} get-tuple-element(%carry), index=1
  %one = f32[2,4]{1,0:T(8,128)S(1)} fusion(%x, %i), kind=kLoop, calls=%cut
  %total = f32[2,4]{1,0:T(8,128)S(1)} all-reduce(%one), replica_groups={}, to_apply=%add
  ROOT %next = (s32[], f32[3,2,4]{2,1,0:T(8,128)}) tuple(%i, %x)
}

%condition (carry.1: (s32[], f32[3,2,4])) -> pred[] {
  %trips = s32[]{:T(128)} constant(3)
  %carry.1 = (s32[], f32[3,2,4]{2,1,0:T(8,128)}) parameter(0)
  %i.1 = s32[]{:T(128)} get-tuple-element(%carry.1), index=0
  ROOT %less = pred[]{:T(512)} compare(%i.1, %trips), direction=LT
}

ENTRY %main (start: (s32[], f32[3,2,4]), small: bf16[2,100]) -> bf16[8,100] {
  %start = (s32[], f32[3,2,4]{2,1,0:T(8,128)}) parameter(0)
  %small = bf16[2,100]{1,0:T(8,128)(2,1)} parameter(1)
  %loop = (s32[], f32[3,2,4]{2,1,0:T(8,128)}) while(%start), condition=%condition, body=%body
  ROOT %gathered = bf16[8,100]{1,0:T(8,128)(2,1)} all-gather(%small), dimensions={0}
}
"""
# The same all-gather as a TPU runs it beside products: begun in one fusion, going on in the next.
BESIDE = PROGRAM.replace(
    "ENTRY",
    """%begins (p: bf16[2,100]) -> (bf16[2,100], bf16[8,100]) {
  %p = bf16[2,100]{1,0:T(8,128)(2,1)} parameter(0)
  %gather = bf16[8,100]{1,0:T(8,128)(2,1)} all-gather(%p), dimensions={0}
  ROOT %begin = (bf16[2,100], bf16[8,100]) custom-call(%gather), custom_call_target="AsyncCollectiveStart"
}

%goes_on (p.1: bf16[2,100]) -> bf16[8,100] {
  %p.1 = bf16[2,100]{1,0:T(8,128)(2,1)} parameter(0)
  %gather.1 = bf16[8,100]{1,0:T(8,128)(2,1)} all-gather(%p.1), dimensions={0}
  ROOT %done = bf16[8,100] custom-call(%gather.1), custom_call_target="AsyncCollectiveDone"
}

ENTRY""",
).replace(
    "  ROOT %gathered = bf16[8,100]{1,0:T(8,128)(2,1)} all-gather(%small), dimensions={0}",
    """  %begun = (bf16[2,100], bf16[8,100]) fusion(%small), kind=kCustom, calls=%begins
  ROOT %gathered = bf16[8,100] fusion(%small), kind=kCustom, calls=%goes_on""",
)
SHAPE = Shape(rows=8, source=5, target=7)


def tiny(**changes: Any) -> Config:
    model = ModelConfig(num_layers=1, d_model=16, d_ff=32, num_heads=2, d_k=8, d_v=4)
    data = DataConfig(vocabulary_size=24, max_length=16, source_tokens=64, target_tokens=64)
    return dataclasses.replace(Config(name="tiny", model=model, data=data), **changes)


@pytest.mark.parametrize("program", [PROGRAM, BESIDE], ids=["at once", "beside products"])
def test_transfers_between_devices_are_counted_by_kind_and_as_often_as_their_loop_runs(program):
    assert hlo.collectives(hlo.parse(program)) == {
        "all-reduce": {"count": 3, "bytes": 3 * 2 * 4 * 4},
        "all-gather": {"count": 1, "bytes": 8 * 100 * 2},
    }


def test_a_gradient_that_a_card_adds_up_into_parts_counts_as_the_whole_of_it():
    started = "%parts = ((bf16[2,100]), bf16[1,100]) reduce-scatter-start(%small), dimensions={0}, to_apply=%add"
    program = hlo.parse(PROGRAM.replace("ROOT %gathered", f"{started}\n  ROOT %gathered"))
    assert hlo.collectives(program)["reduce-scatter"] == {"count": 1, "bytes": 2 * 100 * 2}


def test_memory_traffic_counts_slices_whole_tiles_and_not_what_stays_on_the_chip():
    # In the loop: a slice of 32 bytes and the counter; outside two in tiles of 8 x 128.
    assert hlo.memory_traffic(hlo.parse(PROGRAM)) == 3 * (2 * 4 * 4 + 4) + 2 * 8 * 128 * 2


def test_a_loop_of_a_program_that_was_really_compiled_is_counted_out():
    def scan(x: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda carry, row: (jnp.sin(carry @ carry) + row, None), x[0], x)[0]

    program = hlo.parse(jax.jit(scan).lower(jnp.zeros((37, 16, 16))).compile().as_text() or "")
    assert max(times for _, times in program.running()) == 37


def test_a_loop_that_does_not_say_how_often_it_runs_is_no_guess():
    with pytest.raises(ValueError, match="loop does not say"):
        hlo.collectives(hlo.parse(PROGRAM.replace("constant(3)", "parameter(1)")))


@pytest.mark.parametrize(("architecture", "shape"), [("encoder_decoder", SHAPE), ("decoder_only", Shape(8, 1, 7))])
def test_model_flops_are_those_of_all_matrix_products_in_the_gradient(architecture: str, shape: Shape):
    model, params = fakes.tiny_model(dropout=0.0, architecture=architecture)
    batch = Batch(fakes.random_tokens(0, *shape[:2]), fakes.random_tokens(1, shape.rows, shape.target))  # type: ignore
    gradient = jax.make_jaxpr(jax.grad(lambda params: loss_sums(model, params, batch, 0.1).loss))(params)
    assert products(gradient.jaxpr) == chips.model_flops(model.config, *shape)


def products(jaxpr: Any) -> int:
    """The FLOPs of every product of two matrices in a jaxpr, loops as often as they run."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            left, right = (x.aval.shape for x in equation.invars)
            (summed, _), (together, _) = equation.params["dimension_numbers"]
            # Where an operand has no axis of its own it is a sum over a row: the mean logit, the softmax's gradient.
            if min(len(left), len(right)) > len(summed) + len(together):
                total += 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[axis] for axis in summed)
        times = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                total += times * products(inner)
        if branches := [products(one.jaxpr) for one in equation.params.get("branches", ())]:
            assert len(set(branches)) == 1  # a product is written in several ways, one for each platform
            total += branches[0]
    return total


def test_model_flops_of_base_and_big_are_six_a_parameter_and_token_and_attention():
    # Base without embeddings: 44,040,192 weights, of which the encoder's 18,874,368 and the cross keys and values see
    # the source; 37000 x 512 logits. 25,000 tokens a side of 1 piece: attention is one product of 512 each way.
    base, tokens = ModelConfig(), 25_000
    weights = 44_040_192 + 37_000 * 512
    assert chips.model_flops(base, tokens, 1, 1) == 6 * tokens * (weights + 3 * 6 * 1024)


def test_the_roofline_is_the_slowest_of_arithmetic_memory_and_transfers():
    limit = chips.Peak(100.0, 1, 10.0, chips.Link("link", 5.0, ""))
    moved = {"all-reduce": {"count": 1, "bytes": 10}, "all-gather": {"count": 2, "bytes": 5}}
    parts = {"compute": 2.0, "memory": 3.0, "interconnect": 5.0, "network": 0.0}
    assert roofline.roofline(200.0, 30.0, moved, limit) == parts
    hours = {"steps": 3600, "hours": 5.0, "chip_hours": 20.0, "cost": 30.0}
    assert report.goal(3600, 5.0, None, number=4, price=1.5) == {**hours, "likely_hours": None, "likely_cost": None}
    assert report.goal(3600, 5.0, 8.0, number=4, price=1.5) == {**hours, "likely_hours": 8.0, "likely_cost": 48.0}


def test_a_compile_for_one_device_says_what_its_share_of_the_state_takes():
    config = tiny()
    found = compiled.compile_step(config, jax.devices()[:1], SHAPE)
    model = Transformer(dataclasses.replace(config.model, vocabulary_size=24))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), *[jnp.ones((1, 2), jnp.int32)] * 2))
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    # d_model x heads x (2 d_k + 2 d_v) an attention, feed-forward with biases, norms of 2 x 16, and the table.
    assert count == 3 * 16 * 2 * 24 + 2 * (2 * 16 * 32 + 32 + 16) + 5 * 2 * 16 + 24 * 16
    memory = found.memory
    assert (memory["parameters"], memory["optimizer"]) == (4 * count, 8 * count + 2 * 4)  # and two counters
    assert memory["total"] == sum(memory[kind] for kind in memory if kind != "total")
    assert memory["activations"] > 0 and found.collectives == {} and (found.bytes or 0) > 20 * count


def test_what_does_not_fit_gets_a_setting_that_would():
    full = {"parameters": 40, "optimizer": 80, "program": 0, "activations": 10, "total": 130}
    assert report.suggestion(full, 100, tiny(), devices=4, whole=100) == "--mesh.fsdp 4"
    assert "more chips" in report.suggestion(full, 100, tiny(), devices=1, whole=100)
    deep, halved = (
        {"parameters": 5, "optimizer": 5, "program": 0, "activations": 200, "total": 210},
        tiny(train=TrainConfig(accumulation=2)),
    )
    assert report.suggestion(deep, 100, halved, devices=1, whole=100) == "--train.accumulation 8"
    # A card has more than JAX takes of it unless it is told to.
    assert report.suggestion(deep, 170, halved, devices=1, whole=225).startswith("XLA_PYTHON_CLIENT_MEM_FRACTION=0.95")
    assert report.suggestion(deep, 165, halved, devices=1, whole=220) == "--train.accumulation 4"


def test_a_program_that_libtpu_refuses_as_too_large_still_says_how_large():
    said = (
        "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries (22.50G) exceeds"
    )
    assert compiled.asked_for(RuntimeError(said), state=2**30) == 22.5 * 2**30
    assert compiled.asked_for(RuntimeError("RESOURCE_EXHAUSTED: Used 25.0G of 15.75G hbm"), state=2**30) == 24 * 2**30
    with pytest.raises(RuntimeError, match="another"):
        compiled.asked_for(RuntimeError("another"), state=0)


def test_the_log_gives_the_share_of_a_known_chip_s_peak(toy, tmp_path, monkeypatch, capsys):
    peak = chips.Peak(1e9, 1, 1.0, chips.Link("link", 1.0, ""))
    monkeypatch.setitem(chips.PEAKS, jax.devices()[0].device_kind, peak)
    assert run("train", toy / "toy.py", "--workdir", tmp_path, "--data.num_shapes", 1) == 0
    assert "  MFU " in capsys.readouterr().err
    config = json.loads((tmp_path / "config.json").read_text())["model"]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    line = next(line for line in lines if "train/loss" in line)
    # One shape of batch, so its rows follow from the slots; the log names the rest.
    slots = (line["train/source_tokens_per_step"] + line["train/target_tokens_per_step"]) / (1 - line["train/padding"])
    flops = line["train/model_flops_utilisation"] * 1e9 * line["seconds/total"] / 4
    least, most = (chips.model_flops(ModelConfig(**config), 1, length, length) / (2 * length) for length in (1, 40))
    assert least * slots < flops < most * slots


def test_an_unknown_chip_has_no_utilisation_and_cores_are_not_chips(toy):
    lines = [json.loads(line) for line in (toy / "run" / "metrics.jsonl").read_text().splitlines()]
    assert not any("train/model_flops_utilisation" in line for line in lines)
    cores = [type("Device", (), {"id": i, "coords": [0, i // 2, 0]}) for i in range(8)]
    assert chips.count(cores) == 4 and chips.count(jax.devices()) == jax.device_count()


@pytest.mark.parametrize("topology", ["v9:2x2", "v5e", "v5e:2xx2", "k80:8", "h100", "h100:2x2x2", "h100:-1"])
def test_an_unknown_topology_lists_what_there_is(capsys, topology):
    said = refused(capsys, "plan", "multi30k_en_de", "--topology", topology)
    assert "v5e:4x4" in said and "h100:8" in said and "rtx4090:8" in said


@pytest.mark.parametrize(
    ("topology", "reason"),
    [("v5e:3x3", "1 or even"), ("h100:0", "from 1 to 16"), ("l4:17", "l4:2x8"), ("l4:0x8", "to 16")],
)
def test_a_number_of_chips_that_there_is_not_is_told_before_anything_is_compiled(capsys, topology, reason):
    assert reason in refused(capsys, "plan", "multi30k_en_de", "--topology", topology)


def test_without_a_compiler_the_extra_is_named(capsys, monkeypatch):
    for module in ("libtpu", "jax_cuda12_plugin", "jax_cuda13_plugin"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    assert "[tpu]" in refused(capsys, "plan", "multi30k_en_de", "--topology", "v5e:2x2")
    said = refused(capsys, "plan", "multi30k_en_de", "--topology", "h100:8")
    assert "[cuda]" in said and "3 GB" in said


needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed; the extra `tpu` brings it"
)


@needs_libtpu
def test_meshes_and_batches_that_do_not_fit_the_slice_are_one_line(capsys):
    ask = ("plan", "multi30k_en_de", "--topology", "v5e:2x2")
    assert "does not multiply to the 4 devices" in refused(capsys, *ask, "--mesh.data", 3)
    assert "--data.batch_multiple 6" in refused(capsys, *ask, "--data.batch_multiple", 6)


@needs_libtpu
@pytest.mark.parametrize("topology", sorted(topologies.SLICES.items()))
def test_every_family_of_slices_is_known_to_libtpu_and_to_the_table_of_chips(topology):
    devices = topologies.devices_of(":".join(topology))
    assert devices[0].device_kind in chips.PEAKS and devices[0].platform == "tpu"


@needs_libtpu
def test_a_plan_for_four_chips_gathers_parameters_and_sums_gradients_once_and_splits_the_state():
    exact = dataclasses.replace(tiny().model, compute_dtype="float32")
    whole = report.plan(tiny(model=exact), "v5e:2x2", price=2.0)
    # All but norms (5 x 2 x 16) and biases (2 x (32 + 16)) is divided; the count is that of the test above.
    kept = 4 * (5 * 2 * 16 + 2 * (32 + 16))
    parameters = 4 * (3 * 16 * 2 * 24 + 2 * (2 * 16 * 32 + 32 + 16) + 5 * 2 * 16 + 24 * 16)
    assert whole["memory_bytes"]["parameters"] == (parameters - kept) // 4 + kept
    assert whole["fits"] and whole["chips"] == 4 and whole["mesh"] == {"data": 4, "fsdp": 1, "tensor": 1}
    sent = {kind: one["bytes"] for kind, one in whole["collectives"].items()}
    gathered = sent.pop("all-gather")
    assert sum(sent.values()) == pytest.approx(parameters, abs=200)  # gradients; the shared table's as one
    # A TPU multiplies float32 in bfloat16 unless told otherwise, and XLA then sends kernels in it.
    assert (parameters - kept) / 2 <= gathered <= parameters - kept
    assert whole["goals"][0]["cost"] == pytest.approx(whole["roofline_seconds"] * 1e5 / 3600 * 4 * 2.0)
    split = report.plan(tiny(model=exact, mesh=MeshConfig(data=1, fsdp=4)), "v5e:2x2")
    assert split["memory_bytes"]["parameters"] == whole["memory_bytes"]["parameters"]
    assert split["collectives"]["all-gather"]["bytes"] > 0
    assert split["kernels_per_step"] is None and split["likely_seconds"] is None and split["machines"] == 1
    asked = {"fits", "memory_bytes", "flops_per_step", "bytes_per_step", "roofline_seconds", "compile_seconds"}
    assert asked <= set(json.loads(json.dumps(split)))
