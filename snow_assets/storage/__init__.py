"""Artifacts in the lake: files, records, manifests, pointers, schemas."""
