"""The recipes that come with the package, and a recipe by its name or its file."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pkgutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from posttrain.pipeline.files import expanded
from posttrain.pipeline.finding import UserError
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
    path = expanded(name)
    if path.suffix == ".py":
        if not path.is_file():
            raise UserError(f"{name}: no such file")
        module = _load(path)
    elif name in recipes():
        module = importlib.import_module(f"posttrain.recipes.{name}")
        path = Path(name)
    else:
        raise UserError(f"{name}: no such recipe{nearest(name, recipes())}, or a .py file of your own")
    recipe = getattr(module, path.stem, None)
    if not callable(recipe):
        raise UserError(f"{name}: expected a function {path.stem}() that returns a stage")
    return recipe  # type: ignore[no-any-return]


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    if spec is None or spec.loader is None or path.stem in sys.modules:
        raise UserError(f"{path}: another module is called {path.stem}; rename the file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their own module up
    if (directory := str(path.resolve().parent)) not in sys.path:
        sys.path.append(directory)  # last, so that a file beside a recipe hides no package
    try:
        spec.loader.exec_module(module)
    except UserError:
        raise
    except SyntaxError as error:
        raise UserError(f"{path}:{error.lineno}: {error.msg}") from None
    except Exception as error:
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename == str(path.resolve())
        ]
        where = f"{path}:{lines[-1]}" if lines else str(path)
        raise UserError(f"{where}: {type(error).__name__}: {error}") from error
    return module
