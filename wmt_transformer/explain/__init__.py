"""A page in which a trained model runs in the reader's browser; Python only lays it together."""
