"""Attention on a TPU as one kernel a direction: the scores of a head stay on the chip and never go to memory.

Left to the compiler, every product of attention writes its result, and the scores `[…, heads, target, source]` are by
far its largest arrays: with 32 sentences of 256 pieces 67 MB for each of base's 18 attentions, read or written seven
times a step. A step then waits for memory, not for arithmetic. These kernels read queries, keys and values and write
sums or gradients; the backward one computes the scores again, one product of six (Dao et al. 2022). Up to 512 x 512
scores fit on the chip, so there are no tiles. A test compares both directions with `attention`.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float

ROWS = ("data", "fsdp")
"""The axes of the mesh over which rows are split."""
LANES = 128
"""Numbers side by side in a TPU's registers; blocks of an array are multiples of it along the last axis, or whole."""
MOST_SCORES = 512 * 512
"""Scores of a head that fit on the chip a few times over, in float32."""


def fused_attention(
    query: Float[Array, "batch target heads k"],
    key: Float[Array, "batch source heads k"],
    value: Float[Array, "batch source heads v"],
    mask: Bool[Array, "#batch 1 #target source"],
) -> Float[Array, "batch target heads v"]:
    """Returns softmax(QKᵀ / √d_k) V as `attention` does, by kernels that are interpreted where there is no TPU."""
    heads, ones = query.shape[2], mask.astype(jnp.int32)[:, 0]
    attend = _on_every_device(heads, one_mask=ones.shape[0] == 1)
    # A last axis of all heads' numbers together fills the TPU's tiles of 128, where one of 64 would be half padding.
    query, key, value = (x.reshape(*x.shape[:2], -1) for x in (query, key, value))
    out = attend(query, key, value, ones)
    return out.reshape(*out.shape[:2], heads, -1)


def _on_every_device(heads: int, one_mask: bool) -> Callable[..., Array]:
    """Returns `_attend` for arrays whose rows and heads are split over the mesh: XLA cannot split a kernel itself."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1 or mesh.manual_axes:  # the last: a device sees its own rows alone already
        return functools.partial(_attend, heads)
    shares = mesh.shape["tensor"] if heads % mesh.shape["tensor"] == 0 else 1
    split = P(ROWS, None, "tensor" if shares > 1 else None)
    return jax.shard_map(
        functools.partial(_attend, heads // shares),
        in_specs=(split, split, split, P(None if one_mask else ROWS)),
        out_specs=split,
        check_vma=False,  # a kernel does not say how its outputs vary over the mesh
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(heads: int, query: Array, key: Array, value: Array, mask: Array) -> Array:
    return _attend_forward(heads, query, key, value, mask)[0]


def _attend_forward(heads: int, query: Array, key: Array, value: Array, mask: Array) -> tuple[Array, tuple[Array, ...]]:
    like = jax.ShapeDtypeStruct((*query.shape[:2], value.shape[2]), value.dtype)
    (out,) = _call(_forward_kernel, 2, heads, mask, (query, key, value), (like,))
    return out, (query, key, value, mask, out)


def _attend_backward(heads: int, saved: tuple[Array, ...], d_out: Array) -> tuple[Any, ...]:
    query, key, value, mask, out = saved
    return *_call(_backward_kernel, 5, heads, mask, (query, key, value, out, d_out), (query, key, value)), None


_attend.defvjp(_attend_forward, _attend_backward)


def _call(
    kernel: Callable[..., None],
    products: int,
    heads: int,
    mask: Array,
    inputs: tuple[Array, ...],
    outputs: tuple[Any, ...],
) -> tuple[Array, ...]:
    """Runs a kernel, of `products` matrix products a head, on blocks of a few heads of one row.

    Arrays are `[batch, length, heads x width]`.
    """
    arrays = (*inputs, *outputs)
    widths = {x.shape[2] // heads for x in arrays}
    # As few heads as fill the lanes with each array's numbers.
    together = next((n for n in range(1, heads) if heads % n == 0 and all(n * w % LANES == 0 for w in widths)), heads)

    def block(x: Any) -> pl.BlockSpec:
        return pl.BlockSpec((1, x.shape[1], x.shape[2] // heads * together), lambda row, group: (row, 0, group))

    rows, target, _ = inputs[0].shape
    many = mask.shape[0] > 1
    scores = rows * heads * target * mask.shape[2]
    call = functools.partial(
        pl.pallas_call,
        functools.partial(kernel, together),
        grid=(rows, heads // together),
        in_specs=[pl.BlockSpec((1, *mask.shape[1:]), lambda row, _: (row if many else 0, 0, 0)), *map(block, inputs)],
        out_specs=list(map(block, outputs)),
        out_shape=[jax.ShapeDtypeStruct(x.shape, x.dtype) for x in outputs],
        cost_estimate=pl.CostEstimate(
            flops=2 * products * scores * max(widths),
            transcendentals=scores,
            bytes_accessed=sum(math.prod(x.shape) * x.dtype.itemsize for x in (*arrays, mask)),
        ),
    )
    return tuple(jax.lax.platform_dependent(mask, *inputs, tpu=call(), default=call(interpret=True)))


def _forward_kernel(together: int, mask: Any, query: Any, key: Any, value: Any, out: Any) -> None:
    for head in range(together):
        q, k, v = (_of_head(x, head, together) for x in (query, key, value))
        exponents, total, _ = _softmax(q, k, mask)
        gathered = _product(exponents.astype(v.dtype), v, 1, 0) / total
        _of_head(out, head, together, gathered)


def _backward_kernel(
    together: int,
    mask: Any,
    query: Any,
    key: Any,
    value: Any,
    out: Any,
    d_out: Any,
    d_query: Any,
    d_key: Any,
    d_value: Any,
) -> None:
    """With weights W, out = W V and dW = dout Vᵀ, the gradient of the scores is dS = W ∘ (dW - rowsum(dout ∘ out))."""
    for head in range(together):
        q, k, v, o, d_o = (_of_head(x, head, together) for x in (query, key, value, out, d_out))
        exponents, total, allowed = _softmax(q, k, mask)
        weights = exponents / total
        mean = (o.astype(jnp.float32) * d_o.astype(jnp.float32)).sum(axis=1, keepdims=True)
        d_scores = weights * (_product(d_o, v, 1, 1) - mean)
        # A row with nothing to attend to gets equal weights, and passes no gradient to its scores.
        d_scores = (jnp.where(allowed, d_scores, 0.0) * q.shape[1] ** -0.5).astype(q.dtype)
        _of_head(d_value, head, together, _product(weights.astype(v.dtype), d_o, 0, 0))
        _of_head(d_query, head, together, _product(d_scores, k, 1, 0))
        _of_head(d_key, head, together, _product(d_scores, q, 0, 0))


def _softmax(q: Array, k: Array, mask: Any) -> tuple[Array, Array, Array]:
    """Returns exponents `[target, source]`, their sums `[target, 1]`, both float32, and where attending is allowed."""
    allowed = mask[0] != 0
    scores = jnp.where(allowed, _product(q, k, 1, 1) * q.shape[1] ** -0.5, jnp.finfo(jnp.float32).min)
    exponents = jnp.exp(scores - scores.max(axis=1, keepdims=True))
    return exponents, exponents.sum(axis=1, keepdims=True), allowed


def _product(a: Array, b: Array, axis_a: int, axis_b: int) -> Float[Array, "m n"]:
    return jax.lax.dot_general(a, b, (((axis_a,), (axis_b,)), ((), ())), preferred_element_type=jnp.float32)


def _of_head(block: Any, head: int, together: int, new: Array | None = None) -> Any:
    """Returns one head's columns of a block `[1, length, together x width]`, or sets them."""
    width = block.shape[2] // together
    columns = slice(head * width, (head + 1) * width)
    if new is None:
        return block[0, :, columns]
    block[0, :, columns] = new.astype(block.dtype)
