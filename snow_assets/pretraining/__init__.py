"""Packing of training sequences, and pretraining of three successive checkpoints."""
