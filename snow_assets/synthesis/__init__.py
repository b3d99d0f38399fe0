"""Synthetic documents: a teacher's completions from seeds, filtered and deduplicated."""
