"""docs/glossary.md is sorted, and what it and docs/architecture.md name is in the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "posttrain"
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text("utf-8")
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
ENTRIES = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in GLOSSARY.splitlines()
    if line.startswith("| ") and not line.startswith("| term ")
]


def members(node: ast.Module | ast.ClassDef) -> dict[str, ast.stmt]:
    """Names that a module or class defines, to the statements."""
    names: dict[str, ast.stmt] = {}
    for item in node.body:
        if isinstance(item, ast.ClassDef | ast.FunctionDef):
            names[item.name] = item
        elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            names[item.target.id] = item
        elif isinstance(item, ast.Assign):
            names |= {target.id: item for target in item.targets if isinstance(target, ast.Name)}
    return names


def exists(name: str) -> bool:
    """Whether ``folder.module``, or a module beside the folders, with a class, function, field or method
    below it, is in the package.
    """
    folder, module, *inner = name.split(".")
    path = PACKAGE / folder / f"{module}.py"
    if (PACKAGE / f"{folder}.py").is_file():
        path, inner = PACKAGE / f"{folder}.py", [module, *inner]
    if not path.is_file():
        return False
    node: ast.AST | None = ast.parse(path.read_text("utf-8"))
    for part in inner:
        if not isinstance(node, ast.Module | ast.ClassDef):
            return False
        node = members(node).get(part)
    return node is not None


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry[0] for entry in ENTRIES])
def test_what_the_glossary_names_is_in_the_code(entry: list[str]) -> None:
    assert len(entry) == 3
    names = re.findall(r"`([^`]+)`", entry[2])
    assert names
    assert [name for name in names if not exists(name)] == []


@pytest.mark.parametrize(
    "name",
    [
        "core.batch.Rolouts",
        "core.batches.Rollouts",
        "core.batch.Rollouts.reward",
        "core.kl.exact.x",
        "metrics.Metrik",
    ],
)
def test_a_name_that_is_not_in_the_code_is_found(name: str) -> None:
    assert not exists(name)


def test_the_glossary_is_sorted_and_has_each_term_once() -> None:
    terms = [entry[0].lower() for entry in ENTRIES]
    assert len(terms) > 50
    assert terms == sorted(set(terms))


def test_files_and_names_on_the_architecture_page_are_in_the_code() -> None:
    files = {f"{name.removeprefix('posttrain/')}" for name in re.findall(r"`(\w+/\w+\.py)`", PAGE)}
    files = {file for file in files if not file.endswith("NAME.py")}
    assert len(files) > 15
    assert [f for f in sorted(files) if not any((top / f).is_file() for top in (PACKAGE, ROOT))] == []
    functions = re.findall(r"`(\w+)/(\w+)\.(\w+)(?:\(.*?\))?`", PAGE)
    dotted = [".".join(parts) for parts in functions if parts[2] != "py"]
    assert len(dotted) > 8
    assert [name for name in dotted if not exists(name)] == []


def test_classes_on_the_architecture_page_are_in_the_code() -> None:
    classes: dict[str, ast.ClassDef] = {}
    for path in PACKAGE.rglob("*.py"):
        classes |= {n.name: n for n in ast.parse(path.read_text("utf-8")).body if isinstance(n, ast.ClassDef)}
    named = re.findall(r"`([A-Z][a-z]\w+|[A-Z]{2}\w+[a-z]\w*)(?:\.(\w+))?`", PAGE)
    assert len(named) > 20
    missing = [
        f"{name}.{member}"
        for name, member in named
        if name not in classes or (member and member not in members(classes[name]))
    ]
    assert missing == []
