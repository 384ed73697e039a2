"""The algebra: pure functions and records over [B, T] scalars. Imports torch only."""
