"""What is looked at before and after a stage, one check a file.

No check scores by gold; some read metrics that evaluation measured by it.
"""
