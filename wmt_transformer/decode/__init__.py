"""From a trained model to text: search, sampling, and what turns strings into strings (§6.1)."""
