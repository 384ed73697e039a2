"""Text generation: what a policy says when it is asked."""
