"""What a model is worth: gold and figures with intervals, read after training and never by it."""
