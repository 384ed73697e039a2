"""Losses that move a policy from records alone, without sampling, one method a file."""
