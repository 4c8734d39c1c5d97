"""Our models in the formats of other programs, and theirs in ours."""
