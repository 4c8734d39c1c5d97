"""The same model in PyTorch, as its users write it: linear layers, `scaled_dot_product_attention` with masks.

It computes what ours does, on the same rows: two sentences a row kept apart by masks, positions that begin again with
each, dropout on embeddings and sub-layers' outputs, label smoothing, tied embeddings. Its modules have the names of our
parameters, so that it can take our weights and has to give our loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from wmt_transformer.config import ModelConfig
from wmt_transformer.data.vocabulary import BOS, EOS, PAD
from wmt_transformer.model.layers import sinusoids


class Attention(nn.Module):
    """Multi-head attention without biases (§3.2.2)."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        self.heads, width = model.num_heads, model.num_heads * model.d_k
        self.query, self.key, self.value = (nn.Linear(model.d_model, width, bias=False) for _ in range(3))
        self.output = nn.Linear(width, model.d_model, bias=False)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        query, key, value = (
            layer(of).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, of in ((self.query, x), (self.key, memory), (self.value, memory))
        )
        gathered = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.output(gathered.transpose(1, 2).flatten(-2))


class FeedForward(nn.Module):
    """Equation 2."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        self.hidden, self.output = nn.Linear(model.d_model, model.d_ff), nn.Linear(model.d_ff, model.d_model)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(functional.relu(self.hidden(x)))


class Residual(nn.Module):
    """LayerNorm(x + Dropout(y)) (§3.1, §5.4)."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        self.norm, self.rate = nn.LayerNorm(model.d_model, eps=model.norm_epsilon), model.dropout

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.norm(x + functional.dropout(y, self.rate, self.training))


class Layer(nn.Module):
    """A layer of the encoder, or with `cross` of the decoder."""

    def __init__(self, model: ModelConfig, cross: bool) -> None:
        super().__init__()
        self.self_attention, self.self_attention_residual = Attention(model), Residual(model)
        if cross:
            self.cross_attention, self.cross_attention_residual = Attention(model), Residual(model)
        self.feed_forward, self.feed_forward_residual = FeedForward(model), Residual(model)

    def forward(
        self, x: Tensor, mask: Tensor, memory: Tensor | None = None, memory_mask: Tensor | None = None
    ) -> Tensor:
        x = self.self_attention_residual(x, self.self_attention(x, x, mask))
        if memory is not None:
            x = self.cross_attention_residual(x, self.cross_attention(x, memory, memory_mask))
        return self.feed_forward_residual(x, self.feed_forward(x))


class Transformer(nn.Module):
    """Tokens to the mean loss a target token."""

    def __init__(self, model: ModelConfig, longest: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(model.vocabulary_size, model.d_model) * model.d_model**-0.5)
        self.positions: Tensor
        self.register_buffer("positions", torch.from_numpy(sinusoids(longest, model.d_model)))
        self.encoder = nn.ModuleList(Layer(model, cross=False) for _ in range(model.num_layers))
        self.decoder = nn.ModuleList(Layer(model, cross=True) for _ in range(model.decoder_layers))
        self.rate, self.scale = model.dropout, model.d_model**0.5

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        source_number, source_position, _ = sentences(source)
        number, position, begins = sentences(target)
        real = (source != PAD)[:, None, None, :]
        mask = same(source_number, source_number) & real
        memory = self.embed(source, source_position)
        for layer in self.encoder:
            memory = layer(memory, seen(mask))
        inputs = functional.pad(target, (1, 0))[:, :-1].masked_fill(begins, BOS)
        causal = torch.ones(target.shape[1], target.shape[1], dtype=torch.bool, device=target.device).tril()
        mask, memory_mask = same(number, number) & causal, seen(same(number, source_number) & real)
        x = self.embed(inputs, position)
        for layer in self.decoder:
            x = layer(x, mask, memory, memory_mask)
        logits = functional.linear(x, self.table)
        return functional.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=PAD, label_smoothing=0.1)

    def embed(self, tokens: Tensor, position: Tensor) -> Tensor:
        x = functional.embedding(tokens, self.table) * self.scale + self.positions[position]
        return functional.dropout(x, self.rate, self.training)


def sentences(tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns which sentence of its row each token is in, its position there, and whether it is the first."""
    begins = functional.pad(tokens == EOS, (1, 0), value=True)[:, :-1]
    index = torch.arange(tokens.shape[1], device=tokens.device)
    first = torch.where(begins, index, 0).cummax(dim=1).values
    return begins.cumsum(dim=1), index - first, begins


def same(queries: Tensor, keys: Tensor) -> Tensor:
    """Returns the mask that keeps sentences apart, `[rows, 1, queries, keys]`."""
    return queries[:, None, :, None] == keys[:, None, None, :]


def seen(mask: Tensor) -> Tensor:
    """Returns the mask in which a query that sees nothing, which is padding, sees all: it would make NaN."""
    return mask | ~mask.any(dim=-1, keepdim=True)


def take(module: Transformer, params: Mapping[str, Any]) -> None:
    """Gives the module the parameters of our model."""
    state = {"positions": module.positions, "table": torch.from_numpy(np.array(params["target_embedding"]["table"]))}

    def walk(tree: Mapping[str, Any], name: str) -> None:
        for key, value in tree.items():
            if isinstance(value, Mapping):
                walk(value, f"{name}.{key}" if name else key.replace("_", "."))
                continue
            array = np.array(value)
            if key == "kernel":  # [in…, out…]; the output's are [heads, width, d_model]
                outputs = array.shape[-1] if name.endswith("output") else array.size // array.shape[0]
                array = array.reshape(-1, outputs).T
            leaf = {"kernel": "weight", "scale": "weight", "bias": "bias"}[key]
            state[f"{name}.{leaf}"] = torch.from_numpy(np.ascontiguousarray(array))

    walk({name: tree for name, tree in params.items() if name != "target_embedding"}, "")
    module.load_state_dict(state)
