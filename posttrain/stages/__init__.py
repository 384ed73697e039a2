"""Products in, product out: one file a stage."""
