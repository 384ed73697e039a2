"""Do two checkouts of posttrain compute the same? For every change that must not change a number.

    python scripts/same_numbers.py OLD NEW [--cases NAME,NAME] [--renames FILE] [--keep DIR] [--list]

OLD and NEW are directories or commits of this repository (``HEAD~3 .``); a commit is unpacked into a
temporary directory and its kernels are built there. Recipes made small (scripts/same/cases.py) are run by the
command line of each, with one thread, the two checkouts beside each other on two cores. Compared are the
sha256 of every file with weights, every metric of made.json, every value of metrics.jsonl and of the rows
that stages write, and what else lies in a product. Left out is what says when, where and how fast something
was made (``VOLATILE`` in scripts/same/products.py).

What was renamed stands in scripts/renames.json, from the name in OLD to that in NEW; whoever renames a
metric, a setting, a stage or a file adds it there. With ``--renames`` a file of ``{}`` compares two checkouts
that are both older than the renames.

Ends with 0 where all is equal, 1 with the first stage that differs of each case, 2 where it cannot compare.
Only this script and the command line of both are used, so OLD need not know of it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from same.cases import CASES, Case, write_ratings  # noqa: E402
from same.checkouts import Checkout, Ran, build_kernels, run, unpacked  # noqa: E402
from same.products import Difference, Facts, counts, differences, stages  # noqa: E402
from same.renames import Renames  # noqa: E402

SHOWN = 8  # differences of the first stage that differs
HEAD = ("CASE", "STAGES", "WEIGHTS", "METRICS", "LOGGED", "ROWS", "FILES", "OLD", "NEW", "RESULT")


@dataclass(frozen=True)
class Verdict:
    """A case on both sides: what was compared, and the stages that differ, in the order of making."""

    case: str
    compared: Mapping[str, int]
    stages: int
    differing: Mapping[str, Sequence[Difference | str]]
    seconds: tuple[float, float] = (0.0, 0.0)
    problems: Sequence[str] = ()

    @property
    def same(self) -> bool:
        return not self.differing and not self.problems

    @property
    def summary(self) -> str:
        if self.problems:
            return "did not run"
        return "same" if self.same else f"{next(iter(self.differing))} differs first"

    def row(self) -> tuple[str, ...]:
        numbers = [str(self.compared[kind]) for kind in ("weights", "metrics", "logged", "rows", "files")]
        times = [f"{seconds:.1f} s" for seconds in self.seconds]
        return (self.case, str(self.stages), *numbers, *times, self.summary)


def compared(
    case: str,
    old: Mapping[str, Facts],
    new: Mapping[str, Facts],
    renames: Renames = Renames(),  # noqa: B008
) -> Verdict:
    """The stages of two runs by address, OLD's names renamed already."""
    differing: dict[str, Sequence[Difference | str]] = {}
    for address in dict.fromkeys([*old, *new]):
        if address not in new or address not in old:
            differing[address] = [f"no stage of this address in {'OLD' if address in new else 'NEW'}"]
        elif changes := differences(old[address], new[address], renames):
            differing[address] = changes
    both = [old[address] for address in old if address in new]
    return Verdict(case, counts(both), len(both), differing)


def verdict(case: Case, sides: Sequence[Checkout], ran: Sequence[Ran], renames: Renames) -> Verdict:
    """What two runs of a case come to; those that did not end are compared as far as they came."""
    made = [
        stages(one.run, side.workspace, side.renames) if one.run else {}
        for side, one in zip(sides, ran, strict=True)
    ]
    comparison = compared(case.name, made[0], made[1], renames)
    problems = [f"{side.label}: {one.problem}" for side, one in zip(sides, ran, strict=True) if one.problem]
    seconds = (ran[0].seconds, ran[1].seconds)
    return Verdict(case.name, comparison.compared, comparison.stages, comparison.differing, seconds, problems)


def report(verdicts: Sequence[Verdict]) -> str:
    """The table, then what differs: the first stage of each case in full, later ones by name."""
    rows = [HEAD, *(one.row() for one in verdicts)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    for one in verdicts:
        if one.same:
            continue
        lines += ["", f"{one.case}: {one.summary}", *(f"  {problem}" for problem in one.problems)]
        for number, (address, changes) in enumerate(one.differing.items()):
            if number == 0:
                lines += [f"  {address}: OLD | NEW", *(f"    {difference}" for difference in changes[:SHOWN])]
                lines += [f"    and {len(changes) - SHOWN} more"] if len(changes) > SHOWN else []
        if len(later := list(one.differing)[1:]):
            lines.append(f"  later: {', '.join(later)}")
    return "\n".join(lines)


def checkout(label: str, given: str, directory: Path, renames: Renames) -> Checkout:
    """A directory as it is, or a commit of this repository unpacked. Raises ValueError for anything else."""
    root = Path(given).expanduser().resolve()
    if not (root / "posttrain" / "__init__.py").is_file():
        root = unpacked(ROOT, given, directory / f"{label.lower()}-tree").resolve()
    made = Checkout(label, root, directory / label.lower(), renames)
    made.check()
    return made


def run_all(side: Checkout, cases: Sequence[Case]) -> list[Ran]:
    """One case after another; a stage that two cases share is made once."""
    results = []
    for case in cases:
        results.append(run(side, case))
        print(f"{side.label}  {case.name.ljust(26)}{results[-1].seconds:6.1f} s", file=sys.stderr, flush=True)
    return results


def compare(old: str, new: str, directory: Path, cases: Sequence[Case], renames: Renames) -> list[Verdict]:
    """Both checkouts side by side. Raises ValueError where they cannot be compared."""
    write_ratings(directory)
    sides = [checkout("OLD", old, directory, renames), checkout("NEW", new, directory, Renames())]
    built = [build_kernels(side.root) for side in sides]
    if built[0] != built[1]:
        raise ValueError(
            f"{sides[built.index(False)].label} has no compiled kernels and the other has; PyTorch rounds "
            "differently from them. Build them there: python setup.py build_ext --inplace"
        )
    with ThreadPoolExecutor(2) as pool:
        ran = list(pool.map(lambda side: run_all(side, cases), sides))
    return [
        verdict(case, sides, pair, renames) for case, pair in zip(cases, zip(*ran, strict=True), strict=True)
    ]


def chosen(names: str) -> list[Case]:
    """The cases of these names, all without one. Raises ValueError for an unknown name."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    by_name = {case.name: case for case in CASES}
    if strange := [name for name in wanted if name not in by_name]:
        raise ValueError(f"{', '.join(strange)}: expected of {', '.join(by_name)}")
    return [by_name[name] for name in wanted] or list(CASES)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", nargs="?", metavar="OLD")
    parser.add_argument("new", nargs="?", metavar="NEW")
    parser.add_argument("--cases", default="", metavar="NAMES", help="some of --list, parted by commas")
    parser.add_argument("--renames", type=Path, default=ROOT / "scripts" / "renames.json", metavar="FILE")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="leave both workspaces in this new directory"
    )
    parser.add_argument("--list", action="store_true", help="the cases, as commands")
    asked = parser.parse_args(arguments)
    if asked.list:
        for case in CASES:
            print(f"{case.name}: posttrain run {' '.join([case.recipe, *case.settings])}")
        return 0
    if not asked.old or not asked.new:
        parser.error("expected OLD and NEW, each a directory or a commit")
    began = time.monotonic()
    try:
        cases, renames = chosen(asked.cases), Renames.load(asked.renames)
        if asked.keep is not None:
            asked.keep.mkdir(parents=True)
            verdicts = compare(asked.old, asked.new, asked.keep.resolve(), cases, renames)
        else:
            with tempfile.TemporaryDirectory(prefix="posttrain-same-") as scratch:
                verdicts = compare(asked.old, asked.new, Path(scratch).resolve(), cases, renames)
    except (ValueError, FileExistsError) as error:
        print(f"same_numbers: {error}", file=sys.stderr)
        return 2
    print(report(verdicts))
    differing = sum(not one.same for one in verdicts)
    end = "every number is the same" if not differing else f"{differing} of {len(verdicts)} cases differ"
    print(f"\n{end}; {time.monotonic() - began:.0f} s")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
