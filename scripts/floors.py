"""The floor of each folder of posttrain/, and who imports whom: tests/test_architecture.py enforces it,
scripts/draw_floors.py draws it."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

# a file imports from lower floors and from its own folder
FLOORS = {
    **dict.fromkeys(("kernels", "storage", "metrics"), 0),
    **dict.fromkeys(("core", "pipeline", "sandbox"), 1),
    **dict.fromkeys(("cost", "direct_alignment", "reward_losses", "data", "everyday", "field_guide"), 2),
    **dict.fromkeys(("settings", "device"), 2),
    **dict.fromkeys(("policy_gradients", "models", "environments", "training", "feedback"), 3),
    "engines": 4,
    "rewards": 5,
    "rollouts": 6,
    **dict.fromkeys(("evaluation", "checks", "report"), 7),
    "serving": 7,
    **dict.fromkeys(("stages", "exports"), 8),
    "recipes": 9,
    "cli": 10,
    "__main__": 11,
}


def modules(root: Path) -> dict[str, Path]:
    """Dotted name of every module of the package, and its file."""
    by_name = {}
    for path in sorted((root / "posttrain").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        by_name[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return by_name


@cache  # by module and text, so that a copy of the package is read anew only where it differs
def imports(module: str, text: str) -> frozenset[str]:
    """Every dotted name a file imports, inside functions too, ``from x import y`` as ``x`` and ``x.y``."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(text, module)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: relative import; write the whole name"
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
    return frozenset(names)


def graph(root: Path) -> dict[str, frozenset[str]]:
    """Module name to what it imports: modules of the package by their file, others by their dotted name."""
    files = modules(root)
    edges = {}
    for name, path in files.items():
        edges[name] = known_modules(imports(name, path.read_text()), files) - {name}
    return edges


def known_modules(names: frozenset[str], files: dict[str, Path]) -> frozenset[str]:
    """Of imported names those of modules: the package's own, and any from outside."""
    return frozenset(n for n in names if n in files or not n.startswith("posttrain")) - {"posttrain"}


def folder(name: str) -> str:
    """The folder, or the module beside the folders, that a dotted name belongs to; empty for the package."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""
