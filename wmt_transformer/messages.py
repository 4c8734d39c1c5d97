"""Words of messages that depend on a number."""


def number_of(count: int, noun: str) -> str:
    """Returns a number with its noun, in the plural unless it is one of them: `1 piece`, `2,000 pieces`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
