"""Killable processes for code and mathematics that a model wrote; standard library only."""
