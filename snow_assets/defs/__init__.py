"""Dagster definitions: stages, their checks, automation; stage packages hold the work itself."""
