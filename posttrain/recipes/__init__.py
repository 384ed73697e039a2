"""Whole pipelines as expressions of stages."""
