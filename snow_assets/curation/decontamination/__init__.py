"""Decontamination: prefilter and gate."""
