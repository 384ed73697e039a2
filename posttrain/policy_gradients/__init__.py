"""Policy gradients over [B, T] scalars, one method a file: formula, hyper-parameters, credit, loss."""
