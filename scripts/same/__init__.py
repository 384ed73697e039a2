"""What scripts/same_numbers.py is made of: the cases, two checkouts, their products compared."""
