"""What is looked at before and after a stage, one check a file. None of them reads gold."""
