"""The two loops and what they share. They receive policies, batches and rewards as callables."""
