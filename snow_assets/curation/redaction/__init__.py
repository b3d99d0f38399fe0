"""Redaction of PII and secrets."""
