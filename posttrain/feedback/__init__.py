"""What people, or simulated people, say about answers: annotators and how far they agree."""
