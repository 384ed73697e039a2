"""Everyday questions in plain English for a real small model: feelings, how-tos, beginnings of facts."""
