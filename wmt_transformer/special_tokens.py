"""The ids that mean the same in every vocabulary, and all of a vocabulary that the model has to know."""

PAD = 0
"""Padding: fills a row of a batch; nothing attends to it and no loss is counted on it."""
BOS = 1
"""Begins every target: decoder inputs are the target shifted right behind it (§3.1)."""
EOS = 2
"""Ends every sentence; what follows it in a row is another sentence."""
UNKNOWN = 3
"""A piece that the vocabulary does not have; only imported vocabularies make it, ours fall back to bytes."""
NAMES = {PAD: "<pad>", BOS: "<s>", EOS: "</s>", UNKNOWN: "<unk>"}
"""Their pieces in SentencePiece's models and Marian's, by id, in the order of the ids."""
