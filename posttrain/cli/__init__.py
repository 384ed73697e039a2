"""The command line: one command a file, ``main`` in ``entry``. This package imports nothing heavy: ``--help``
is answered without torch.
"""

from posttrain.cli.entry import main
from posttrain.cli.recipe_files import find_recipe, recipes

__all__ = ["find_recipe", "main", "recipes"]
