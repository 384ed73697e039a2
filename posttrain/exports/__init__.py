"""Products as other programs read them, each read back before it is called done."""
