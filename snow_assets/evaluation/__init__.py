"""Evaluation of checkpoints: bits per byte and pass@1, with 95 % confidence intervals."""
