"""Experiments: recipes of arms, their results, comparisons with intervals."""
