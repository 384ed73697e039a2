"""Each word once: no public class and no module stem twice, and no name that only says what happened to a
value. What breaks the rules today is listed; the lists only become shorter."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORLDS = ("field_guide",)  # prose of an embedded world, with words of its own
TOOLS = ("scripts", "benchmarks")  # no name there is excused
# names that do not say what they hold
BANNED = frozenset(
    ("said", "told", "found", "kept", "own", "known", "drawn", "there", "beside", "place", "thought", "seen")
)
# stems that stand in two folders on purpose: the second is made of, or runs, the first
MIRRORED = {
    "base": "what the files of a folder share",
    "cartpole": "a recipe and its environment",
    "chat": "a command and the template it speaks by",
    "classifier": "a reward and its model",
    "constraints": "a reward and its data",
    "demonstrations": "a stage and its worlds",
    "doctor": "a command and what it examines",
    "dpo": "a recipe and its method",
    "gold": "a measure and its worlds",
    "lineage": "a command and what it tells",
    "problems": "a stage and its world",
    "prompts": "a stage and its world",
    "reasoning_gym": "a reward and its prompts",
    "sft": "a stage and its method",
    "smollm2": "a stage and its model",
    "thermostat": "a recipe and its environment",
}
# still to be renamed; whoever renames one strikes it off
CLASSES_TWICE: frozenset[str] = frozenset()
STEMS_TWICE = frozenset(("machine", "scale"))
BOUND = Path(__file__).with_name("vocabulary_allowed.txt")  # lines "file: name name"


def files(root: Path) -> dict[str, str]:
    """Path below the package to text."""
    package = root / "posttrain"
    return {str(path.relative_to(package)): path.read_text() for path in sorted(package.rglob("*.py"))}


def tools(root: Path) -> dict[str, str]:
    """Path below the repository to text, of what is run beside the package."""
    paths = (path for folder in TOOLS for path in sorted((root / folder).rglob("*.py")))
    return {path.relative_to(root).as_posix(): path.read_text("utf-8") for path in paths}


def classes_twice(texts: dict[str, str]) -> set[str]:
    """Names of public classes that two modules define."""
    homes = defaultdict(set)
    for name, text in texts.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].add(name)
    return {name for name, where in homes.items() if len(where) > 1}


def stems_twice(names: Iterable[str]) -> set[str]:
    """Stems of two files, but for those that are mirrored on purpose."""
    stems = [Path(name).stem for name in names]
    return {stem for stem in stems if stems.count(stem) > 1} - {"__init__", *MIRRORED}


def banned_names(texts: dict[str, str]) -> dict[str, set[str]]:
    """By file the banned names that are bound in it: variables, parameters, fields, functions."""
    bound: dict[str, set[str]] = {}
    for name, text in texts.items():
        if name.split("/")[0] in WORLDS:
            continue
        here: set[str] = set()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                here.add(node.id)
            elif isinstance(node, ast.arg):
                here.add(node.arg)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                here.add(node.name)
        if here & BANNED:
            bound[name] = here & BANNED
    return bound


def written(bound: dict[str, set[str]]) -> list[str]:
    return [f"{name}: {' '.join(sorted(names))}" for name, names in sorted(bound.items())]


def allowed(path: Path) -> dict[str, set[str]]:
    """What a list of files and names still allows."""
    lines = (line.partition(":") for line in path.read_text().splitlines() if line.strip())
    return {name: set(names.split()) for name, _, names in lines}


def less(first: dict[str, set[str]], second: dict[str, set[str]]) -> dict[str, set[str]]:
    """What of the first is not in the second."""
    rest = {name: names - second.get(name, set()) for name, names in first.items()}
    return {name: names for name, names in rest.items() if names}


def test_no_public_class_has_the_name_of_another() -> None:
    found = classes_twice(files(ROOT))
    assert found - CLASSES_TWICE == set(), "give one of them another name"
    assert CLASSES_TWICE - found == set(), "no longer there twice: strike it off the list"


def test_no_module_has_the_stem_of_another() -> None:
    found = stems_twice(files(ROOT))
    assert found - STEMS_TWICE == set(), "rename one of the files, or say in MIRRORED why both have the name"
    assert STEMS_TWICE - found == set(), "no longer there twice: strike it off the list"
    stems = [Path(name).stem for name in files(ROOT)]
    assert [stem for stem in MIRRORED if stems.count(stem) < 2] == [], "no longer mirrored: strike it off"


def test_no_name_says_what_happened_to_a_value() -> None:
    found, listed = banned_names(files(ROOT)), allowed(BOUND)
    new, gone = less(found, listed), less(listed, found)
    assert written(new) == [], "call a variable after what it holds"
    assert written(gone) == [], f"no longer bound there: strike it off {BOUND.name}"


def test_no_name_of_the_tools_says_what_happened_to_a_value() -> None:
    texts = tools(ROOT)
    assert {name.partition("/")[0] for name in texts} == set(TOOLS)
    assert written(banned_names(texts)) == [], "call a variable after what it holds"


def test_a_class_of_two_modules_is_found() -> None:
    texts = {"core/a.py": "class Row: ...\nclass _Own: ...\n", "data/b.py": "class _Own: ...\n"}
    assert classes_twice(texts) == set()
    assert classes_twice(texts | {"data/c.py": "def f():\n    class Row: ...\n"}) == {"Row"}


def test_a_stem_of_two_folders_is_found() -> None:
    names = ["core/__init__.py", "data/__init__.py", "recipes/dpo.py", "direct_alignment/dpo.py", "core/a.py"]
    assert stems_twice(names) == set()
    assert stems_twice([*names, "data/a.py"]) == {"a"}


def test_a_banned_name_is_found_however_it_is_bound() -> None:
    text = "kept = 1\nfor seen in []: ...\ndef told(own): ...\nwith open('f') as there: ...\n"
    bound = banned_names({"core/a.py": text, "field_guide/b.py": text, "core/c.py": "print(kept.place)\n"})
    assert bound == {"core/a.py": {"kept", "seen", "told", "own", "there"}}


def test_the_lists_only_shrink(tmp_path: Path) -> None:
    """A new offender and one that is gone are both told."""
    path = tmp_path / "allowed.txt"
    path.write_text("core/a.py: kept own\n\ncore/b.py: said\n")
    found = {"core/a.py": {"kept", "told"}, "core/c.py": {"seen"}}
    assert written(less(found, allowed(path))) == ["core/a.py: told", "core/c.py: seen"]
    assert written(less(allowed(path), found)) == ["core/a.py: own", "core/b.py: said"]
