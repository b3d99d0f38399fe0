"""Curation's kernels once more, a text at a time in plain Python: what they must agree with."""
