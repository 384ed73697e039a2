"""What scripts/torture.py is made of: kinds of runs, a process that is killed, damage, limits, twins."""
