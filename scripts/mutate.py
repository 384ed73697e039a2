"""Are the tests awake? Every deliberate mistake of scripts/mutations.py, made in a copy, must be caught.

    python scripts/mutate.py [--only WORD]

Lists for each mutation the tests that caught it; ends with 1 if one went unnoticed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from mutations import MUTATIONS, Mutation  # noqa: E402


def copy_of_the_tree(place: Path) -> None:
    for name in ("posttrain", "tests", "docs"):
        shutil.copytree(
            ROOT / name,
            place / name,
            ignore=shutil.ignore_patterns("__pycache__", "base", "*.safetensors"),
        )
    shutil.copy(ROOT / "pyproject.toml", place)


def killers(mutation: Mutation, place: Path) -> list[str]:
    """The tests that fail with the mutation made, at most three of them."""
    path = place / "posttrain" / mutation.file
    original = path.read_text()
    found = original.count(mutation.old)
    if found != 1:
        raise SystemExit(f"{mutation.name}: {mutation.file} has {found} times\n    {mutation.old}")
    path.write_text(original.replace(mutation.old, mutation.new))
    try:
        code, output = in_a_child(mutation.tests, place)
    finally:
        path.write_text(original)
    failed = re.findall(r"(?m)^(?:FAILED|ERROR) (\S+)", output)
    if code not in (0, 1) or (code == 1) != bool(failed):
        raise SystemExit(f"{mutation.name}: pytest ended with {code}\n{output[-3000:]}")
    return failed


def in_a_child(tests: tuple[str, ...], place: Path) -> tuple[int, str]:
    """pytest in a process forked from this one, which has the heavy imports already."""
    said = place / "output.txt"
    child = os.fork()
    if child == 0:
        code = 3
        try:
            os.chdir(place)
            sys.path[:0] = [str(place)]
            sys.dont_write_bytecode = True
            with said.open("w") as out:
                os.dup2(out.fileno(), 1)
                os.dup2(out.fileno(), 2)
                import pytest

                options = ["-q", "--maxfail=3", "--tb=no", "-rfE", "-p", "no:cacheprovider"]
                code = int(pytest.main([*options, *tests]))
                sys.stdout.flush()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), said.read_text()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="mutations whose name or file contains this")
    ask = parser.parse_args()
    import pytest  # noqa: F401  the children inherit what is imported here
    import torch
    import transformers  # noqa: F401

    torch.set_num_threads(1)
    assert not any(name.startswith("posttrain") for name in sys.modules)
    chosen = [m for m in MUTATIONS if ask.only in m.name or ask.only in m.file]
    unnoticed = []
    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        copy_of_the_tree(place)
        code, output = in_a_child(("tests/core",), place)
        if code:
            raise SystemExit(f"the tests fail without any mutation:\n{output[-3000:]}")
        for mutation in chosen:
            started = time.perf_counter()
            found = killers(mutation, place)
            shown = ", ".join(name.removeprefix("tests/") for name in found) or "NOBODY NOTICED"
            print(
                f"{mutation.name} ({mutation.file}): {shown}  {time.perf_counter() - started:.1f}s",
                flush=True,
            )
            if not found:
                unnoticed.append(mutation.name)
    print(f"{len(chosen) - len(unnoticed)} of {len(chosen)} mutations caught")
    if unnoticed:
        raise SystemExit(f"went unnoticed: {'; '.join(unnoticed)}")


if __name__ == "__main__":
    main()
