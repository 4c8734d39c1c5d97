"""Planning for cards: kernels of a stored program, figures by hand count, a compile for cards that are not there."""

import dataclasses
import importlib.util
import json
import re

import jax
import pytest
from commands import refused
from test_plan import tiny

from wmt_transformer import platform
from wmt_transformer.cli.plan import screen
from wmt_transformer.data.shapes import Shape
from wmt_transformer.model.attention import kernels_for
from wmt_transformer.model.dense import compute_dtype
from wmt_transformer.plan import compiled, hlo, kernels, report, roofline, topologies
from wmt_transformer.train import chips

# What a card launches: in a loop of three trips a product by cuBLAS with its workspace; then XLA's own product in a
# fusion, and attention by cuDNN forwards and backwards over 2 x 4 heads of 16 x 8 scores, each 32 wide.
PROGRAM = """HloModule jit_step, is_scheduled=true, entry_computation_layout={()->f32[]}

%fused_product (p0: bf16[64,32], p1: bf16[32,16]) -> f32[64,16] {
  %p0 = bf16[64,32]{1,0} parameter(0)
  %p1 = bf16[32,16]{1,0} parameter(1)
  ROOT %dot.1 = f32[64,16]{1,0} dot(%p0, %p1), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

%body (carry: (s32[], bf16[4,8,32], bf16[4,32,16])) -> (s32[], bf16[4,8,32], bf16[4,32,16]) {
  %carry = (s32[], bf16[4,8,32]{2,1,0}, bf16[4,32,16]{2,1,0}) parameter(0)
  %i = s32[] get-tuple-element(%carry), index=0
  %x = bf16[4,8,32]{2,1,0} get-tuple-element(%carry), index=1
  %w = bf16[4,32,16]{2,1,0} get-tuple-element(%carry), index=2
  %gemm = (bf16[4,8,16]{2,1,0}, s8[4194304]{0}) custom-call(%x, %w), custom_call_target="__cublas$lt$matmul", backend_config={"gemm_backend_config":{"dot_dimension_numbers":{"lhs_contracting_dimensions":["2"],"rhs_contracting_dimensions":["1"],"lhs_batch_dimensions":["0"],"rhs_batch_dimensions":["0"]}}}
  ROOT %next = (s32[], bf16[4,8,32]{2,1,0}, bf16[4,32,16]{2,1,0}) tuple(%i, %x, %w)
}

%condition (carry.1: (s32[], bf16[4,8,32], bf16[4,32,16])) -> pred[] {
  %carry.1 = (s32[], bf16[4,8,32]{2,1,0}, bf16[4,32,16]{2,1,0}) parameter(0)
  %i.1 = s32[] get-tuple-element(%carry.1), index=0
  %trips = s32[] constant(3)
  ROOT %less = pred[] compare(%i.1, %trips), direction=LT
}

ENTRY %main (start: (s32[], bf16[4,8,32], bf16[4,32,16]), a: bf16[64,32], b: bf16[32,16], q: bf16[2,16,4,32], k: bf16[2,8,4,32], v: bf16[2,8,4,32]) -> f32[64,16] {
  %start = (s32[], bf16[4,8,32]{2,1,0}, bf16[4,32,16]{2,1,0}) parameter(0)
  %a = bf16[64,32]{1,0} parameter(1)
  %b = bf16[32,16]{1,0} parameter(2)
  %q = bf16[2,16,4,32]{3,2,1,0} parameter(3)
  %k = bf16[2,8,4,32]{3,2,1,0} parameter(4)
  %v = bf16[2,8,4,32]{3,2,1,0} parameter(5)
  %loop = (s32[], bf16[4,8,32]{2,1,0}, bf16[4,32,16]{2,1,0}) while(%start), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"3"}}
  %forward = (bf16[2,4,16,32]{3,1,2,0}, f32[2,4,16]{2,1,0}, u8[0]{0}) custom-call(%q, %k, %v), custom_call_target="__cudnn$fmhaSoftmax", backend_config={"cudnn_fmha_backend_config": {"intermediate_tensor_shape": {"element_type": "BF16", "dimensions": ["2", "4", "16", "8"], "tuple_shapes": []}}}
  %out = bf16[2,4,16,32]{3,1,2,0} get-tuple-element(%forward), index=0
  %sums = f32[2,4,16]{2,1,0} get-tuple-element(%forward), index=1
  %backward = (bf16[2,4,16,32]{3,1,2,0}, bf16[2,4,8,32]{3,1,2,0}, bf16[2,4,8,32]{3,1,2,0}, u8[0]{0}) custom-call(%q, %k, %v, %sums, %out, /*index=5*/%out), custom_call_target="__cudnn$fmhaSoftmaxBackward", backend_config={"cudnn_fmha_backend_config": {"intermediate_tensor_shape": {"element_type": "BF16", "dimensions": ["2", "4", "16", "8"], "tuple_shapes": []}}}
  ROOT %product = f32[64,16]{1,0} fusion(%a, %b), kind=kCustom, calls=%fused_product
}
"""  # noqa: E501


SHAPE = Shape(rows=64, source=32, target=48)


def test_kernels_of_a_card_are_counted_with_their_bytes_and_the_operations_of_their_products():
    found = {one.name: one for one in kernels.kernels(hlo.parse(PROGRAM))}
    assert {name: one.times for name, one in found.items()} == {"gemm": 3, "forward": 1, "backward": 1, "product": 1}
    assert kernels.launches(list(found.values())) == 6
    # Each array once, in two bytes an element, and not the workspace of 4 MB.
    assert found["gemm"].bytes == 2 * (4 * 8 * 32 + 4 * 32 * 16 + 4 * 8 * 16)
    assert found["gemm"].flops == 2 * 4 * 8 * 16 * 32
    assert (
        found["product"].bytes == 2 * (64 * 32 + 32 * 16) + 4 * 64 * 16 and found["product"].flops == 2 * 64 * 16 * 32
    )
    queries, keys, sums = 2 * 2 * 16 * 4 * 32, 2 * 2 * 8 * 4 * 32, 4 * 2 * 4 * 16
    assert found["forward"].bytes == 2 * queries + 2 * keys + sums
    assert found["backward"].bytes == 4 * queries + 4 * keys + sums
    one_product = 2 * (2 * 4) * 16 * 8 * 32
    assert (found["forward"].flops, found["backward"].flops) == (2 * one_product, 5 * one_product)
    assert found["gemm"].kind == "__cublas$lt$matmul" and found["product"].kind == "fusion"
    assert hlo.memory_traffic(hlo.parse(PROGRAM)) == sum(one.times * one.bytes for one in found.values())


def test_of_an_array_that_a_kernel_only_slices_the_slices_are_read():
    # One kernel adds two slices of 8 rows and 2 columns, another is a slice by itself.
    program = """
%fused (p0: f32[64,16]) -> f32[8,2] {
  %p0 = f32[64,16]{1,0} parameter(0)
  %left = f32[8,2]{1,0} slice(%p0), slice={[0:8], [0:2]}
  %right = f32[8,2]{1,0} slice(%p0), slice={[8:16], [2:4]}
  ROOT %sum = f32[8,2]{1,0} add(%left, %right)
}

ENTRY %main (a: f32[64,16]) -> f32[4,16] {
  %a = f32[64,16]{1,0} parameter(0)
  %added = f32[8,2]{1,0} fusion(%a), kind=kLoop, calls=%fused
  ROOT %alone = f32[4,16]{1,0} slice(%a), slice={[0:4], [0:16]}
}
"""
    found = {one.name: one.bytes for one in kernels.kernels(hlo.parse(program))}
    assert found == {"added": 4 * 3 * 8 * 2, "alone": 4 * 2 * 4 * 16}


def test_kernels_run_one_after_another_each_the_slower_of_memory_and_arithmetic():
    found = [kernels.Kernel("a", "fusion", 3, bytes=10, flops=0), kernels.Kernel("b", "fusion", 1, bytes=10, flops=900)]
    assert kernels.seconds(found, flops=100.0, bandwidth=10.0) == 3 * 1.0 + 9.0
    assert kernels.seconds(found, flops=100.0, bandwidth=10.0, launch=0.5) == 12.0 + 4 * 0.5
    limit = chips.Peak(100.0, 1, 10.0, chips.Link("link", 5.0, ""))
    real = chips.Achieved(bandwidth=0.5, flops=0.9, launch=0.5, source="")
    parts = roofline.roofline(900.0, 40.0, {"all-reduce": {"count": 1, "bytes": 10}}, limit)
    assert parts["interconnect"] == 4.0
    assert roofline.likely(found, parts, limit, real) == 3 * 2.0 + 10.0 + 4 * 0.5 + 4.0 / 0.5


def test_between_machines_what_passes_a_ring_leaves_by_the_network_of_all_of_a_machine_s_cards():
    limit = chips.Peak(1.0, 1, 1.0, chips.Link("link", 80.0, ""), chips.Link("network", 5.0, ""))
    moved = {"all-reduce": {"count": 1, "bytes": 80}}  # 160 bytes go out of each card of the ring
    assert roofline.roofline(1.0, 1.0, moved, limit)["network"] == 0.0
    several = roofline.roofline(1.0, 1.0, moved, limit, cards=8)
    assert (several["interconnect"], several["network"]) == (2.0, 4.0)
    alone = roofline.roofline(1.0, 1.0, moved, limit, cards=1)
    assert (alone["interconnect"], alone["network"]) == (0.0, 32.0)


def test_what_is_traced_for_a_card_that_is_not_there_takes_none_of_the_cpu_s_branches():
    config = dataclasses.replace(tiny().model, attention_dropout=0.0)
    config = dataclasses.replace(config, d_k=64, d_v=64)
    chosen = (("cpu", "float32", "explicit"), ("gpu", "bfloat16", "cudnn"), ("tpu", "bfloat16", "fused"))
    for name, dtype, by in chosen:
        with platform.tracing_for(name):
            assert (platform.backend(), compute_dtype("auto"), kernels_for(config, 64, 64)) == (name, dtype, by)
    assert platform.backend() == jax.default_backend()


@pytest.mark.parametrize("card", topologies.CARDS)
def test_what_xla_is_told_of_a_card_agrees_with_the_table_of_chips(card):
    said = dict(re.findall(r"^ *(\w+): \"?([^\n\"]+)", topologies.CARDS[card].read_text(), re.M))
    peak = chips.PEAKS[said["device_description_str"]]
    assert float(said["memory_bandwidth"]) == pytest.approx(peak.bandwidth, rel=0.01)
    assert int(said["device_memory_size"]) == peak.memory
    assert peak.link.source and 1e9 < peak.link.bandwidth < 1e12 and (peak.network is None or peak.network.source)


def test_a_report_on_a_card_says_what_its_likely_time_assumes_and_what_memory_it_may_take(monkeypatch):
    found, device = kernels.kernels(hlo.parse(PROGRAM)), jax.devices()[0]
    memory = {"parameters": 10, "optimizer": 20, "activations": 60, "program": 0, "total": 90}
    limit = chips.Peak(1e6, 100, 1e6, chips.Link("link", 5.0, "its sheet"))
    monkeypatch.setitem(chips.PEAKS, device.device_kind, limit)
    monkeypatch.setattr(report, "devices_of", lambda topology: [device])
    monkeypatch.setattr(report, "_capacity", lambda limit, platform: limit.memory * 3 // 4)
    monkeypatch.setattr(report, "compile_step", lambda *_: compiled.Compiled(SHAPE, memory, 30_000, {}, found, 1.5))
    lines: list[str] = []
    said = report.plan(tiny(), "h100:1", price=2.0, progress=lines.append)
    assert said["kernels_per_step"] == 6 and not said["fits"] and said["links"] == {}
    assert said["suggestion"].startswith("XLA_PYTHON_CLIENT_MEM_FRACTION=0.95")
    real = chips.ASSUMED
    assert said["likely_seconds"] == kernels.seconds(found, *real.rates(limit), real.launch)
    assert said["likely_assumes"] == {"bandwidth": 0.8, "flops": 0.6, "launch": 2e-6, "source": real.source}
    assert said["compiled_flops_per_step"] == sum(one.times * one.flops for one in found)
    # Once this card is measured, that is what its likely time is made of.
    monkeypatch.setitem(chips.MEASURED, device.device_kind, chips.Achieved(0.9, 0.7, 3e-6, "gpu.py on one"))
    assert report.plan(tiny(), "h100:1")["likely_assumes"]["source"] == "gpu.py on one"
    assert lines == [
        "compiling tiny for h100:1, batch 1 of 1: 8 rows of 16 + 16; a minute or more",
        "compiled in 2 s",
    ]
    text = screen(json.loads(json.dumps(said)))
    assert "6 kernels a chip" in text and "2 µs a kernel (assumed" in text


needs_cuda = pytest.mark.skipif(
    not any(importlib.util.find_spec(f"jax_cuda{version}_plugin") for version in (12, 13)),
    reason="JAX's CUDA plugin is not installed; the extra `cuda` brings it",
)


@needs_cuda
def test_meshes_and_networks_that_do_not_fit_the_cards_are_one_line(capsys):
    ask = ("plan", "multi30k_en_de", "--topology")
    assert "does not multiply to the 8 devices" in refused(capsys, *ask, "h100:8", "--mesh.data", 3)
    assert "network" in refused(capsys, *ask, "rtx4090:2x4")


@needs_cuda
def test_a_plan_for_four_cards_in_two_machines_is_the_same_report_as_for_a_slice():
    lines: list[str] = []
    found = report.plan(tiny(), "l4:2x2", price=2.0, progress=lines.append)
    assert (found["chips"], found["machines"], found["chip"]) == (4, 2, "NVIDIA L4") and found["fits"]
    assert set(found["links"]) == {"interconnect", "network"} and found["kernels_per_step"] > 10
    # All gradients go once to all others.
    assert found["collectives"]["all-reduce"]["bytes"] > 2 * found["memory_bytes"]["parameters"] / 4
    assert found["roofline_parts"]["network"] > 0 and found["memory_bytes"]["capacity"] == int(0.75 * 24152899584)
    assert found["likely_seconds"] > found["roofline_seconds"] >= max(found["roofline_parts"].values())
    assert found["likely_assumes"] == chips.ASSUMED._asdict()
    assert found["goals"][0]["likely_cost"] == pytest.approx(found["likely_seconds"] * 1e5 / 3600 * 4 * 2.0)
    assert "batch 1 of 1" in lines[0] and "compiled" in lines[-1]
    text = screen(json.loads(json.dumps(found)))
    assert "2 µs a kernel" in text and "100 Gbit/s" in text and "kernels" in text


@needs_cuda
def test_the_products_that_a_card_is_given_are_those_of_the_model():
    config = tiny()
    found = compiled.compile_step(config, topologies.devices_of("h100:1"), SHAPE)
    counted = sum(one.times * one.flops for one in found.kernels or [])
    # XLA pads the axes of cuBLAS's bfloat16 products to a multiple of 8; here values are 4 wide.
    assert 1 <= counted / chips.model_flops(compiled.sized(config).model, *SHAPE) < 1.2
