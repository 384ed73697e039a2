"""Stages as values, products on disk, fingerprints and lineage. Standard library only."""
