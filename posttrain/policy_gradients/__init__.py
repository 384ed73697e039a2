"""Policy gradients, one method a file: formula, hyper-parameters, credit, loss. They see [B, T] scalars
only."""
