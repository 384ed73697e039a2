"""The embedded world: a pocket reference of true facts, and the tasks, gold and base model built on it."""
