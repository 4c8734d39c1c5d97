"""The optimiser, the compiled update and the loop around it (§5)."""
