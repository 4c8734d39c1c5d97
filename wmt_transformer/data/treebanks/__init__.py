"""Treebanks: trees, the corpora of trees, and their words (§6.3)."""
