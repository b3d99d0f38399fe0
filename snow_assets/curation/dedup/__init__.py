"""Exact and near deduplication."""
