"""Training and evaluation from labelled captures."""
