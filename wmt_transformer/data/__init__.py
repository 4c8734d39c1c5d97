"""From corpora to batches of token ids: vocabulary, pairs, prepared arrays (§5.1)."""
