"""The Transformer of "Attention Is All You Need" in JAX and Flax, from data to BLEU.

Read it in this order: config, data (vocabulary, corpora, prepare, batches), model (attention, layers,
transformer), train (loss, optimizer, step, checkpoint, loop), decode (beam, generate), evaluate (bleu), cli.
"""

__version__ = "0.1.0"
