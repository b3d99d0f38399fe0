"""Checkpoints in; scores with their noise, out."""
