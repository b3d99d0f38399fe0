"""Sentences about what Snow does, each proved on real parts."""
