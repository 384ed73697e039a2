"""posttrain: from a base language model to an aligned one, with evidence."""

__version__ = "0.1.0"
