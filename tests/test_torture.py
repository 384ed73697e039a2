"""scripts/torture.py: its kinds are there, it notices what differs; and a short form of it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import torture  # noqa: E402
from torture_parts import damage, instants, twins  # noqa: E402
from torture_parts.counters import COUNTED, Counters  # noqa: E402
from torture_parts.kinds import KINDS, Kind  # noqa: E402
from torture_parts.ordeals import Outcome, by_operation  # noqa: E402
from torture_parts.process import Ended, Place  # noqa: E402

from posttrain.cli.parser import build_parser  # noqa: E402
from posttrain.cli.recipe_options import read_recipe  # noqa: E402
from posttrain.pipeline.stage import addresses  # noqa: E402


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_kind_is_a_stage_of_a_recipe(kind: Kind) -> None:
    options, rest = build_parser().parse_known_args(["run", *kind.words])
    options.overrides = [*options.overrides, *rest]
    _, _, expression = read_recipe(options)
    assert not kind.address or kind.address in addresses(expression)
    assert kind.batch.keys() <= set(COUNTED)


def product(workspace: Path, **files: str) -> Path:
    place = workspace / "products" / "rl-1"
    place.mkdir(parents=True)
    made = {"report": {"metrics": {"reward": 1.0}}, "seconds": 3.0}
    texts = {"made.json": json.dumps(made), "metrics.jsonl": '{"step": 1}\n', "times.jsonl": "1"} | files
    for name, text in texts.items():
        (place / name).write_text(text)
    return place


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, []),
        ({"times.jsonl": "2"}, []),
        ({"metrics.jsonl": '{"step": 2}\n'}, ["rl-1/metrics.jsonl"]),
        ({"rows.jsonl": "{}\n"}, ["rl-1/rows.jsonl"]),
        ({"adapter_config.json": '{"r": 4, "base_model_name_or_path": "/b"}'}, []),
        ({"adapter_config.json": '{"r": 8, "base_model_name_or_path": "/a"}'}, ["rl-1/adapter_config.json"]),
        ({"made.json": '{"report": {"metrics": {"reward": 2.0}}}'}, ["metric reward: 1.0 | 2.0"]),
    ],
)
def test_what_differs_from_the_twin_is_told(tmp_path: Path, changed: dict[str, str], told: list[str]) -> None:
    place = Place(tmp_path, Counters())
    adapter = {"adapter_config.json": '{"r": 4, "base_model_name_or_path": "/a"}'}
    known = product(tmp_path / "known", **adapter).parent
    twin = twins.Twin(bench=place, fresh=tmp_path, products=known, work={}, operations={}, seconds=1.0)
    product(place.workspace, **adapter | changed)
    assert twin.differences() == told
    outcome = Outcome("kills")
    outcome.compare(twin, Ended(0, 1.0), "killed")
    assert outcome.faults == [f"killed: {one}" for one in told]
    (place.workspace / "scratch" / "rl-1").mkdir(parents=True)
    outcome.compare(twin, Ended(0, 1.0), "killed")
    assert outcome.faults[-1] == "killed: left in scratch: rl-1"


def test_a_product_that_was_not_made_is_told(tmp_path: Path) -> None:
    known = product(tmp_path / "known").parent
    (tmp_path / "workspace" / "products").mkdir(parents=True)
    place = Place(tmp_path, Counters())
    twin = twins.Twin(bench=place, fresh=tmp_path, products=known, work={}, operations={}, seconds=1.0)
    assert twin.differences() == ["rl-1 is not there"]


def killed_child(path: Path, instant: instants.Instant) -> tuple[int, str]:
    """A process that writes two lines to a file, flushes them, and renames it."""
    note = path / "note.txt"
    child = os.fork()
    if child == 0:
        try:
            instants.Operations(instant, note, lambda: "loop").watch()
            descriptor = os.open(path / "metrics.jsonl", os.O_WRONLY | os.O_CREAT)
            for _ in range(2):
                os.write(descriptor, b"0123456789")
                os.fsync(descriptor)
            os.rename(path / "metrics.jsonl", path / "renamed")
        finally:
            os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, note.read_text() if note.exists() else ""


@pytest.mark.parametrize(
    ("label", "number", "when", "left"),
    [
        ("write metrics.jsonl", 1, instants.BEFORE, 0),
        ("write metrics.jsonl", 2, instants.TORN, 15),
        ("write metrics.jsonl", 2, instants.AFTER, 20),
        ("fsync metrics.jsonl", 1, instants.BEFORE, 10),
        ("rename metrics.jsonl", 1, instants.BEFORE, 20),
    ],
)
def test_a_process_is_killed_at_an_operation(
    tmp_path: Path, label: str, number: int, when: str, left: int
) -> None:
    code, note = killed_child(tmp_path, instants.Instant(label=label, number=number, when=when))
    assert code == -signal.SIGKILL
    assert f"{when} {label} {number}" in note
    assert (tmp_path / "metrics.jsonl").stat().st_size == left


def test_after_the_rename_it_is_renamed_and_what_never_comes_kills_nothing(tmp_path: Path) -> None:
    after = instants.Instant(label="rename metrics.jsonl", number=1, when=instants.AFTER)
    assert killed_child(tmp_path, after)[0] == -signal.SIGKILL
    assert (tmp_path / "renamed").exists()
    (tmp_path / "note.txt").unlink()
    assert killed_child(tmp_path, instants.Instant(label="mkdir product", number=1)) == (0, "")


def test_every_sort_of_operation_has_its_turn(tmp_path: Path) -> None:
    twin = twins.Twin(
        bench=Place(tmp_path, Counters()),
        fresh=tmp_path,
        products=tmp_path,
        work={},
        operations={"write metrics.jsonl": 5, "mkdir scratch": 2, "rename product": 1},
        seconds=1.0,
    )
    drawn = by_operation(twin, 6, random.Random(0))
    first = [next(drawn) for _ in range(6)]
    assert Counter(one.label for one in first) == dict.fromkeys(twin.operations, 2)
    assert all(1 <= one.number <= twin.operations[one.label] for one in first)


def test_every_file_is_damaged_in_every_way(tmp_path: Path) -> None:
    stage = tmp_path / "scratch" / "rl-1"
    newest = stage / "checkpoints" / "step-00000002"
    newest.mkdir(parents=True)
    for path, text in ((newest / "manifest.json", '{"updates": 2}'), (stage / "train.chunks", "0123456789")):
        path.write_text(text)
    names = [name for name, _ in damage.harms(tmp_path)]
    assert len(names) == len(set(names)) == 2 * 4 + 2 + 6 + 1
    flip = dict(damage.harms(tmp_path))["a bit of rl-1/train.chunks"]
    flip()
    assert (stage / "train.chunks").read_text() == "0123446789"


def test_names_that_are_none_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert torture.main(["--kinds", "sft,nothing"]) == 2
    assert "nothing" in capsys.readouterr().err
    assert torture.main(["--only", "fire"]) == 2


@pytest.mark.slow
def test_no_run_loses_its_work(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [sys.executable, str(ROOT / "scripts" / "torture.py"), "--kinds", "dpo,pairs", "--kills", "2"]
    command += ["--damages", "2", "--only", "kills,operations,damage", "--one-process", "--json", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    kinds = json.loads(report.read_text())["kinds"]
    assert list(kinds) == ["dpo", "pairs"]
    assert all([one["kills"] for one in some] == [2, 2, 1] for some in kinds.values())
    assert "every run came to the same bits" in done.stdout
