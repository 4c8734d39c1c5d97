"""Which batches a process of a run reads: its share of the rows, of sentence pairs or of packed text."""

from __future__ import annotations

import jax

from wmt_transformer.config import Config
from wmt_transformer.data.batches import Batches, Pairs
from wmt_transformer.data.documents.windows import TokenStream, Windows
from wmt_transformer.train.sharding import row_slice


def make_batches(
    config: Config, tokens: Pairs | TokenStream, mesh: jax.sharding.Mesh, num_shapes: int | None, accumulation: int = 1
) -> Batches | Windows:
    """Returns this process's share of the batches: of sentence pairs, or of packed text for a language model."""
    data, (host_index, host_count) = config.data, row_slice(mesh)
    multiple, seed = data.batch_multiple * accumulation, config.train.seed
    if isinstance(tokens, TokenStream):
        return Windows(tokens, data.context, data.target_tokens, multiple, seed, host_index, host_count)
    return Batches(tokens, data.source_tokens, data.target_tokens, num_shapes, multiple, seed, host_index, host_count)
