"""Consent, export and erasure."""
