"""Are the tests awake? Every deliberate mistake of scripts/mutations, made in a copy, must be caught.

    python scripts/mutate.py [--only WORD ...] [--jobs N]

Each of N processes (one a core) has a copy of the package and its tests. Lists for each mutation the tests
that caught it; ends with 1 if one went unnoticed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from mutations import MUTATIONS, Mutation  # noqa: E402

LIMIT = 300.0  # seconds for the tests of one mutation, many times what they take
_copy = Path()  # of this worker process


@dataclass(frozen=True)
class Outcome:
    """What the tests of one mutation did: those that failed, or why nothing can be said."""

    failed: tuple[str, ...]
    problem: str
    seconds: float


def copy_of_the_tree(directory: Path) -> None:
    for name in ("posttrain", "tests", "docs"):
        shutil.copytree(ROOT / name, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", directory)


def open_copy(parent: str) -> None:
    """Called once in each worker."""
    global _copy
    _copy = Path(tempfile.mkdtemp(dir=parent))
    copy_of_the_tree(_copy)


def outcome_of(mutation: Mutation) -> Outcome:
    """The tests of the mutation, run with it in this worker's copy."""
    path = _copy / "posttrain" / mutation.file
    original = path.read_text("utf-8")
    if (count := original.count(mutation.old)) != 1:
        return Outcome((), f"{mutation.file} has {count} times\n    {mutation.old}", 0.0)
    path.write_text(original.replace(mutation.old, mutation.new), "utf-8")
    try:
        return outcome(mutation.tests)
    finally:
        path.write_text(original, "utf-8")


def outcome(tests: Sequence[str]) -> Outcome:
    """These tests, run in this worker's copy as it is."""
    started = time.perf_counter()
    code, output = in_a_child(tests, _copy)
    seconds = time.perf_counter() - started
    failed = tuple(re.findall(r"(?m)^(?:FAILED|ERROR) (\S+)", output))
    if code == -signal.SIGKILL:
        return Outcome((), f"the tests were not done within {LIMIT:.0f} s", seconds)
    if code not in (0, 1) or (code == 1) != bool(failed):
        return Outcome((), f"pytest ended with {code}\n{output[-3000:]}", seconds)
    return Outcome(failed, "", seconds)


def in_a_child(tests: Sequence[str], directory: Path) -> tuple[int, str]:
    """pytest in a process forked from this one, which has the heavy imports already."""
    log = directory / "output.txt"
    child = os.fork()
    if child == 0:
        code = 3
        try:
            os.setsid()  # so that what the tests start can be ended with them
            os.chdir(directory)
            sys.path[:0] = [str(directory)]
            sys.dont_write_bytecode = True
            with log.open("w") as out:
                os.dup2(out.fileno(), 1)
                os.dup2(out.fileno(), 2)
                import pytest

                options = ["-q", "--maxfail=3", "--tb=no", "-rfE", "-p", "no:cacheprovider"]
                code = int(pytest.main([*options, *tests]))
                sys.stdout.flush()
        finally:
            os._exit(code)
    deadline = time.monotonic() + LIMIT
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.02)
    return os.waitstatus_to_exitcode(ended[1]), log.read_text()


def unmutated(chosen: Sequence[Mutation]) -> list[tuple[str, ...]]:
    """Few test runs that cover all tests of these mutations: plain paths in one, words (-k) by path."""
    plain = {test for m in chosen if "-k" not in m.tests for test in m.tests}
    within = {test for test in plain if test.partition("::")[0] in plain - {test}}
    words: dict[tuple[str, ...], set[str]] = {}
    for *paths, last in (m.tests for m in chosen if "-k" in m.tests):
        words.setdefault(tuple(paths), set()).add(f"({last})")
    selected = [(*paths, " or ".join(sorted(some))) for paths, some in sorted(words.items())]
    return [tuple(sorted(plain - within))] * bool(plain) + selected


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[""], help="words, of which a name or file has one")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes")
    options = parser.parse_args()
    import pytest  # noqa: F401  the children inherit what is imported here
    import torch
    from transformers import AutoModelForCausalLM, LlamaForCausalLM  # noqa: F401

    torch.set_num_threads(1)
    assert not any(name.startswith("posttrain") for name in sys.modules)
    chosen = [m for m in MUTATIONS if any(word in m.name or word in m.file for word in options.only)]
    fork = multiprocessing.get_context("fork")
    with (
        tempfile.TemporaryDirectory() as parent,
        ProcessPoolExecutor(options.jobs, fork, open_copy, (parent,)) as workers,
    ):
        sound = [workers.submit(outcome, tests) for tests in unmutated(chosen)]
        if broken := [line for run in sound for line in (*run.result().failed, run.result().problem) if line]:
            raise SystemExit("without any mutation these fail:\n" + "\n".join(broken))
        print(f"the tests pass without mutations; {len(chosen)} mutations follow", flush=True)
        bad = report({workers.submit(outcome_of, m): m for m in chosen})
    print(f"{len(chosen) - len(bad)} of {len(chosen)} mutations caught")
    if bad:
        raise SystemExit("not caught: " + "; ".join(bad))


def report(running: dict) -> list[str]:  # type: ignore[type-arg]
    """Prints each outcome as it comes, with rate and time left. Returns what was not caught."""
    started, bad = time.perf_counter(), []
    for done, future in enumerate(as_completed(running), start=1):
        mutation, result = running[future], future.result()
        if not result.failed:
            bad.append(mutation.name)
        tests = ", ".join(name.removeprefix("tests/") for name in result.failed)
        spent = time.perf_counter() - started
        left = spent / done * (len(running) - done) / 60
        print(
            f"[{done}/{len(running)}, {60 * done / spent:.1f} a minute, {left:.0f} min left] "
            f"{mutation.name} ({mutation.file}): {tests or result.problem or 'NOBODY NOTICED'}  "
            f"{result.seconds:.1f}s",
            flush=True,
        )
    return bad


if __name__ == "__main__":
    main()
