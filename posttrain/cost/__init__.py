"""What work a stage does, and what that takes on a machine: operations, memory, seconds, and the table of
scale.
"""
