"""Where rewards come from, one source a file."""
