"""Rows on disk: JSON lines, sequences read an item at a time, token rows. No torch but in logprob_store."""
