"""Every method there is, found by its file: a new file is tested the moment it exists."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("policy_gradients", "direct_alignment", "reward_losses")


@dataclass(frozen=True)
class Found:
    """A method file and the class a user gets by its name."""

    folder: str
    name: str
    path: Path
    module: ModuleType

    @property
    def kind(self) -> Any:
        """The frozen dataclass whose name is the file's, written together."""
        classes = {
            name.lower(): item
            for name, item in vars(self.module).items()
            if dataclasses.is_dataclass(item) and item.__module__ == self.module.__name__
        }
        wanted = self.name.replace("_", "")
        assert wanted in classes, f"{self.path.name}: no dataclass is called like it; found {sorted(classes)}"
        return classes[wanted]

    def __str__(self) -> str:
        return self.name


def load(folder: str, path: Path) -> Found:
    """The module of a file of the package, or of one that lies anywhere else."""
    name = f"posttrain.{folder}.{path.stem}"
    if path.parent == ROOT / "posttrain" / folder:
        return Found(folder, path.stem, path, importlib.import_module(name))
    name = f"lying_elsewhere_{path.stem}_{abs(hash(path))}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return Found(folder, path.stem, path, module)


def is_method(path: Path) -> bool:
    """``base`` holds what several methods share."""
    return path.stem not in ("__init__", "base")


def methods(*folders: str) -> list[Found]:
    """Of the given folders, or of all three."""
    return [
        load(folder, path)
        for folder in folders or FOLDERS
        for path in sorted((ROOT / "posttrain" / folder).glob("*.py"))
        if is_method(path)
    ]
