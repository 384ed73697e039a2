"""What a model is worth: gold and metrics with intervals, read after training and never by it."""
