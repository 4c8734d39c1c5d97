"""Scores: BLEU, EVALB's F1, perplexity, and the paper's tables."""
