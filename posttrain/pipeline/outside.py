"""Files of the user's own that stand where a name is: ``rl.reward=./mine.py:reward``."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from posttrain.pipeline.code import imported
from posttrain.pipeline.files import check_regular, expanded
from posttrain.pipeline.finding import UserError

WRITTEN = re.compile(r"(?P<file>.+\.py)(:(?P<name>[A-Za-z_]\w*))?")
_MODULES: dict[Path, tuple[str, ModuleType]] = {}  # by resolved path, with the hash of the text that was run
_TYPED: dict[str, str] = {}  # module name to the path as the user typed it


def is_outside(text: str) -> bool:
    """Whether a value is written as a Python file, with or without a name in it."""
    return WRITTEN.fullmatch(text) is not None


def outside(text: str, expected: str = "") -> Any:
    """What ``FILE.py:NAME`` stands for; without a name, what is called as the file is. ``expected`` says what
    that must be, with {name} for its name.

    Raises:
        UserError: no such file, no such name in it, or the file raises where it is run; with its line.
    """
    match = WRITTEN.fullmatch(text)
    if match is None:
        raise UserError(f"{text}: expected FILE.py:NAME")
    path = expanded(match["file"])
    name = match["name"] or path.stem
    module = load(path)
    if not hasattr(module, name):
        names = [key for key, value in vars(module).items() if _defined_in(module, value)]
        defines = f"it defines {', '.join(names) or 'nothing'}"
        missing = f"expected {expected.format(name=name)}" if expected else f"nothing is called {name} there"
        raise UserError(f"{path}: {missing}; {defines}. Write {match['file']}:NAME")
    return getattr(module, name)


def _defined_in(module: ModuleType, value: Any) -> bool:
    return getattr(value, "__module__", "") == module.__name__


def typed(value: Any) -> str:
    """How a user types a class or function of their own file; empty for one of this package."""
    path = _TYPED.get(getattr(value, "__module__", ""), "")
    return f"{path}:{value.__name__}" if path else ""


def load(path: Path) -> ModuleType:
    """The file as a module; its name is made of its path, so that files of one name do not collide. What it
    imports from its own directory is found there, after everything that is installed.

    Raises UserError where there is no such file, or it raises.
    """
    resolved = path.resolve()
    if not resolved.is_file():
        raise UserError(f"{path}: no such file")
    check_regular(resolved, path)
    source = resolved.read_bytes()
    digest = hashlib.sha256(source).hexdigest()
    if resolved in _MODULES and _MODULES[resolved][0] == digest:
        return _MODULES[resolved][1]
    name = f"{resolved.stem}_{hashlib.sha256(str(resolved).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, resolved)
    if spec is None:
        raise UserError(f"{path}: not a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their own module up
    _TYPED[name] = str(path)
    try:
        with _beside(resolved.parent):
            exec(compile(source, str(resolved), "exec"), vars(module))
    except BaseException as error:
        del sys.modules[name], _TYPED[name]
        if isinstance(error, UserError) or not isinstance(error, Exception):
            raise
        raise UserError(_told(path, resolved, error)) from error
    _MODULES[resolved] = digest, module
    return module


def identity(source: Path, hash_file: Callable[[Path], str]) -> str:
    """One hash of a file and of all that it imports from its own directory, directly or through others."""
    files = sorted(own_files(source))
    if len(files) == 1:
        return hash_file(source)
    hashes = {file.relative_to(source.parent).as_posix(): hash_file(file) for file in files}
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


def own_files(source: Path) -> set[Path]:
    """The file, and the files of its directory that it imports, also inside functions."""
    reached, waiting = {source}, [source]
    while waiting:
        for file in _imported_files(waiting.pop(), source.parent):
            if file not in reached:
                reached.add(file)
                waiting.append(file)
    return reached


def _imported_files(file: Path, directory: Path) -> Iterator[Path]:
    """Of each name that a file imports the module below ``directory``, with the packages that it is in."""
    try:
        names = list(imported(file.read_text("utf-8")))
    except (OSError, SyntaxError, ValueError):
        return
    for dots, name in names:
        package = file.parents[dots - 1] if dots else directory
        parts = name.split(".") if name else []
        for end in range(0 if dots else 1, len(parts) + 1):
            path = package.joinpath(*parts[:end])
            for candidate in (path / "__init__.py", path.with_suffix(".py")):
                if candidate.is_file() and candidate.is_relative_to(directory):
                    yield candidate


@contextmanager
def _beside(directory: Path) -> Iterator[None]:
    """Modules of the directory can be imported, and those of the same name that another directory of the
    user's has are not taken for them.
    """
    others = {str(path.parent) for path in _MODULES} - {str(directory)}
    here = [path.stem for path in directory.glob("*.py")]
    here += [path.parent.name for path in directory.glob("*/__init__.py")]
    for name in here:
        file = getattr(sys.modules.get(name), "__file__", None)
        if file and any(Path(file).is_relative_to(other) for other in others):
            for module in [key for key in sys.modules if key == name or key.startswith(f"{name}.")]:
                del sys.modules[module]
    # last, so that a file of the user's hides no package; before the directories of their other files
    installed = [entry for entry in sys.path if entry not in {*others, str(directory)}]
    sys.path[:] = [*installed, str(directory), *others]
    importlib.invalidate_caches()
    yield


def _told(path: Path, resolved: Path, error: Exception) -> str:
    if isinstance(error, SyntaxError) and error.filename == str(resolved):
        return f"{path}:{error.lineno}: {error.msg}"
    frames = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(resolved)]
    where = f"{path}:{frames[-1]}" if frames else str(path)
    return f"{where}: {type(error).__name__}: {error}"
