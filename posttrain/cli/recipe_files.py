"""The recipes that come with the package, and a recipe by its name or its file."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path

from posttrain.pipeline.finding import UserError
from posttrain.pipeline.outside import is_outside, outside
from posttrain.pipeline.stage import Stage
from posttrain.pipeline.values import nearest


def recipes() -> dict[str, Path]:
    """Name to file of the recipes that come with the package; nothing is imported."""
    from posttrain import recipes as package

    return {
        item.name: Path(package.__path__[0]) / f"{item.name}.py"
        for item in pkgutil.iter_modules(package.__path__)
        if _makes_a_stage(Path(package.__path__[0]) / f"{item.name}.py", item.name)
    }


def _makes_a_stage(path: Path, function: str) -> bool:
    """Whether a function of that name is there, and says that it returns a stage."""
    declared = [
        item.returns
        for item in ast.parse(path.read_text("utf-8")).body
        if isinstance(item, ast.FunctionDef) and item.name == function
    ]
    return any(isinstance(returns, ast.Name) and returns.id == "Stage" for returns in declared)


def find_recipe(name: str) -> Callable[..., Stage]:
    """The function a recipe's file is named after. Raises UserError where there is none, or the file is
    faulty.
    """
    if is_outside(name):
        recipe = outside(name, "a function {name}() that returns a stage")
    elif name in recipes():
        recipe = getattr(importlib.import_module(f"posttrain.recipes.{name}"), name, None)
    else:
        raise UserError(f"{name}: no such recipe{nearest(name, recipes())}, or a .py file of your own")
    if not callable(recipe):
        raise UserError(f"{name}: expected a function that returns a stage")
    return recipe  # type: ignore[no-any-return]
