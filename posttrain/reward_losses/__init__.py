"""What a reward model is trained with, one loss a file."""
