"""What nothing but a test uses does not exist: modules that no other module reaches, names that no other
line of code has."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from pathlib import Path

from tests.test_architecture import ROOT, folder, graph, modules

# whose files, classes and functions a user names in a setting or on the command line
BY_NAME = ("policy_gradients", "direct_alignment", "reward_losses", "rewards", "recipes")
PICKED = (
    "posttrain.rollouts.pair_rules",
    "posttrain.rollouts.rejection_rules",
)  # functions that a setting names
USERS = ("posttrain", "scripts", "benchmarks")  # folders whose code counts as use
# what is kept without a user, and why
KEPT = {
    "posttrain.core.masked.per_decision": "turns of a conversation will be credited by it",
}


def unused_modules(root: Path) -> list[str]:
    """Modules that no other module of the package imports or names, and that are no program and no choice."""
    files, edges = modules(root), graph(root)
    imported = {target for name, targets in edges.items() for target in targets if target != name}
    texts = {name: path.read_text() for name, path in files.items()}
    return [
        name
        for name, path in files.items()
        if name not in imported
        and path.stem not in ("__init__", "__main__")
        and folder(name) not in BY_NAME
        and 'if __name__ == "__main__"' not in texts[name]
        and not any(_names(texts[other], name, folder(other)) for other in files if other != name)
    ]


def _names(text: str, module: str, home: str) -> bool:
    """Whether a file names the module in a string; in its own folder the last part of the name will do."""
    return f'"{module}' in text or (home == folder(module) and f'"{module.rpartition(".")[2]}"' in text)


def _docstrings(tree: ast.AST) -> set[int]:
    """The lines of all docstrings."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            value = first.value if isinstance(first, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                lines |= set(range(value.lineno, (value.end_lineno or value.lineno) + 1))
    return lines


def words(text: str) -> Counter[str]:
    """How often each word stands in code, strings included; comments and docstrings do not count."""
    left_out, counts = _docstrings(ast.parse(text)), Counter[str]()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT and token.start[0] not in left_out:
            counts.update(re.findall(r"\w+", token.string))
    return counts


def unused_names(root: Path) -> list[str]:
    """Public classes and functions of modules whose name no other line of code has. A name that another
    thing shares passes, so whatever is found is unused."""
    counts = Counter[str]()
    for path in (path for top in USERS for path in sorted((root / top).rglob("*.py"))):
        counts.update(words(path.read_text()))
    return [
        f"{name}.{node.name}"
        for name, path in modules(root).items()
        if folder(name) not in BY_NAME and name not in PICKED
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
        if counts[node.name] == 1
    ]


def test_every_module_has_a_user() -> None:
    found = set(unused_modules(ROOT)) - KEPT.keys()
    assert found == set(), "only tests import it: use it or delete it"


def test_every_public_name_has_a_user() -> None:
    found = set(unused_names(ROOT)) - KEPT.keys()
    assert found == set(), "only tests use it: use it or delete it"


def test_what_is_kept_without_a_user_has_none() -> None:
    assert KEPT.keys() <= {*unused_modules(ROOT), *unused_names(ROOT)}, "it has a user now: strike it off"


def _package(root: Path, files: dict[str, str]) -> Path:
    for name, text in {"__init__": "", **files}.items():
        path = root / "posttrain" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_module_that_nothing_imports_is_found(tmp_path: Path) -> None:
    used = {"core/a": "import posttrain.core.b\n", "core/b": "", "cli": 'RUN = "posttrain.core.a"\n'}
    used |= {"core/program": 'if __name__ == "__main__":\n    pass\n', "rewards/length": ""}
    root = _package(tmp_path, used | {"core/lonely": "import posttrain.core.b\n"})
    assert unused_modules(root) == ["posttrain.cli", "posttrain.core.lonely"]


def test_a_function_that_no_code_names_is_found(tmp_path: Path) -> None:
    """A docstring, a comment and a test are no use; a call, a string and an annotation are."""
    body = "def called() -> None: ...\ndef named() -> None: ...\ndef lonely() -> None: ...\nclass Kind: ...\n"
    user = (
        '"""lonely"""\n# lonely\ncalled()\nWORKER = "core.a:named"\ndef take(x: Kind) -> None: ...\ntake(1)\n'
    )
    root = _package(tmp_path, {"core/a": body, "core/b": user})
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text("lonely()\n")
    assert unused_names(root) == ["posttrain.core.a.lonely"]
