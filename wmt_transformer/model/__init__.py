"""The Transformer as Linen modules. Letters in einsum strings and shapes are named below.

B batch rows, S source length, T target length, W hypotheses of a beam, L room in a cache,
D d_model, F d_ff, H heads, K width of a head (d_k or d_v), V vocabulary.
"""
