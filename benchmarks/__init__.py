"""Benchmarks: crmkit against the same work written by hand, in the same run."""
