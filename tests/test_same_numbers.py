"""scripts/same_numbers.py on workspaces written by hand: what is equal, what differs first, new names."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import same_numbers  # noqa: E402
from same.cases import CASES, Case  # noqa: E402
from same.checkouts import Checkout, Ran, build_kernels, run, spelled, unpacked  # noqa: E402
from same.products import Difference  # noqa: E402
from same.renames import Renames, listed, renamed  # noqa: E402

CASE = Case("small", "small", ("rl.steps=2",))
STAGES = ("sft", "rl")


def written(
    workspace: Path,
    weight: bytes = b"\0\1\2\3",
    metrics: Mapping[str, Any] | None = None,
    logged: Mapping[str, Any] | None = None,
    stages: tuple[str, ...] = STAGES,
    names: tuple[str, str] = ("nll", "loss"),
    rank: int = 4,
) -> Ran:
    """A run of two stages. ``weight``, ``metrics`` and ``logged`` are of the last; ``names`` are those of a
    metric and of a value in the log.
    """
    nll, loss = names
    products = {}
    for number, address in enumerate(stages):
        product = workspace / "products" / f"{address}-{number}"
        (product / "adapter").mkdir(parents=True)
        known = metrics if metrics is not None and address == stages[-1] else {nll: 1.5, "seconds": number}
        made = {"report": {"figures": known}, "seconds": hash(str(workspace))}
        row = logged if logged is not None and address == stages[-1] else {"step": 1, loss: 0.25}
        (product / "made.json").write_text(json.dumps(made))
        (product / "metrics.jsonl").write_text(json.dumps({**row, "seconds/update": id(product)}) + "\n")
        (product / "model.safetensors").write_bytes(weight if address == stages[-1] else b"\0")
        (product / "adapter" / "adapter_config.json").write_text(
            json.dumps({"r": rank, "base_model_name_or_path": str(workspace)})
        )
        (product / "config.json").write_text("{}")
        products[address] = f"products/{address}-{number}"
    directory = workspace / "runs" / "1-small"
    directory.mkdir(parents=True)
    record = {"stages": [{"address": address} for address in stages], "products": products}
    (directory / "run.json").write_text(json.dumps(record))
    return Ran(directory, 1.0)


def verdict_of(
    tmp_path: Path, new: Mapping[str, Any], old: Mapping[str, Any] | None = None, **tables: Any
) -> same_numbers.Verdict:
    """Two runs, written as ``old`` and ``new`` say, compared with these renames."""
    renames = Renames(**tables)
    sides = [
        Checkout("OLD", ROOT, tmp_path / "old", renames),
        Checkout("NEW", ROOT, tmp_path / "new", Renames()),
    ]
    ran = [written(tmp_path / "old", **(old or {})), written(tmp_path / "new", **new)]
    return same_numbers.verdict(CASE, sides, ran, renames)


def test_equal_runs_are_equal_whatever_time_and_place_they_state(tmp_path: Path) -> None:
    found = verdict_of(tmp_path, {})
    assert (found.same, found.summary, found.stages) == (True, "same", 2)
    assert found.compared == {"weights": 2, "metrics": 2, "logged": 6, "rows": 0, "files": 4}


@pytest.mark.parametrize(
    ("new", "told"),
    [
        ({"weight": b"\0\1\2\4"}, "weights model.safetensors"),
        ({"metrics": {"nll": 1.5000000000000002}}, "metric nll: 1.5 | 1.5000000000000002"),
        ({"metrics": {"nll": 1.5, "kl": 0.5}}, "metric kl: (not there) | 0.5"),
        ({"logged": {"step": 1, "loss": 0.26}}, "logged loss (metrics.jsonl, row 0001): 0.25 | 0.26"),
    ],
)
def test_a_changed_number_is_named_with_its_stage(tmp_path: Path, new: Mapping[str, Any], told: str) -> None:
    found = verdict_of(tmp_path, new)
    assert (found.same, found.summary, list(found.differing)) == (False, "rl differs first", ["rl"])
    page = same_numbers.report([found])
    assert told in page
    assert "sft:" not in page


def test_a_key_of_a_config_is_compared_unless_it_says_where(tmp_path: Path) -> None:
    found = verdict_of(tmp_path, {"rank": 8})
    assert [str(d) for d in found.differing["sft"]] == ["file r (adapter/adapter_config.json): 4 | 8"]


def test_a_missing_stage_is_named(tmp_path: Path) -> None:
    found = verdict_of(tmp_path, {"stages": ("sft",), "weight": b"\0"})
    assert found.summary == "rl differs first"
    assert "no stage of this address in NEW" in same_numbers.report([found])


def test_the_first_stage_in_the_order_of_making_is_named_first(tmp_path: Path) -> None:
    found = verdict_of(tmp_path, {"stages": ("rl",)}, {"weight": b"\0"})
    assert found.summary == "sft differs first"


def test_a_run_that_did_not_end_is_no_equality(tmp_path: Path) -> None:
    sides = [Checkout(name, ROOT, tmp_path / name, Renames()) for name in ("OLD", "NEW")]
    ran = [Ran(None, 1.0, "stage rl failed"), Ran(None, 1.0, "stage rl failed")]
    found = same_numbers.verdict(CASE, sides, ran, Renames())
    assert (found.same, found.summary) == (False, "did not run")
    assert "NEW: stage rl failed" in same_numbers.report([found])


def test_what_was_renamed_is_the_same(tmp_path: Path) -> None:
    new = {"stages": ("sft", "policy"), "names": ("loss/heldout", "objective")}
    tables = {
        "metrics": {"nll": "loss/heldout", "loss": "objective"},
        "addresses": {"rl": "policy"},
    }
    assert verdict_of(tmp_path / "a", new, **tables).same
    assert list(verdict_of(tmp_path / "b", new).differing) == ["sft", "rl", "policy"]
    found = verdict_of(tmp_path / "c", new, addresses=tables["addresses"])
    assert [str(d.fact) for d in found.differing["sft"] if isinstance(d, Difference)] == [
        "metric loss/heldout",
        "metric nll",
        "logged loss (metrics.jsonl, row 0001)",
        "logged objective (metrics.jsonl, row 0001)",
    ]


def test_one_side_alone_may_have_what_is_listed_for_it(tmp_path: Path) -> None:
    new = {"metrics": {"nll": 1.5, "clip/low": 0.1, "clip/high": 0.2}}
    assert verdict_of(tmp_path / "a", new, only_new=["clip/*"]).same
    assert not verdict_of(tmp_path / "b", new, only_old=["clip/*"]).same
    assert verdict_of(tmp_path / "c", {}, new, only_old=["clip/*"]).same
    changed = {"metrics": {"nll": 1.5, "clip/low": 0.1, "clip/high": 0.3}}
    assert not verdict_of(tmp_path / "d", new, changed, only_old=["clip/*"], only_new=["clip/*"]).same


def test_a_metric_with_its_interval_is_the_same_in_either_form(tmp_path: Path) -> None:
    flat = {"win_rate": 0.5, "win_rate_low": 0.4, "win_rate_high": 0.6, "win_rate_n": 10}
    typed = {"won": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 10, "unit": "share"}}
    tables = {"metrics": {"win_rate": "won"}}
    assert verdict_of(tmp_path / "a", {"metrics": typed}, {"metrics": flat}, **tables).same
    typed["won"]["high"] = 0.61
    found = verdict_of(tmp_path / "b", {"metrics": typed}, {"metrics": flat}, **tables)
    assert [str(d) for d in found.differing["rl"]] == ["metric won.high: 0.6 | 0.61"]


def test_nan_is_equal_to_nan_alone(tmp_path: Path) -> None:
    old = {"metrics": {"nll": float("nan")}}
    assert verdict_of(tmp_path / "a", old, old).same
    assert not verdict_of(tmp_path / "b", {"metrics": {"nll": 0.0}}, old).same


def test_a_star_stands_for_the_same_text() -> None:
    table = {"parts/*": "reward/*", "parts/gold": "gold"}
    assert [renamed(name, table) for name in ("parts/length", "parts/gold", "kl")] == [
        "reward/length",
        "gold",
        "kl",
    ]
    assert listed("parts/length", ["parts/*"])
    assert not listed("kl", ["parts/*"])
    assert not listed("kl", [])


def test_the_table_that_is_there_is_read_and_a_faulty_one_refused(tmp_path: Path) -> None:
    Renames.load(ROOT / "scripts" / "renames.json")
    for text in ("[]", '{"metric": {}}', '{"metrics": []}', '{"only_old": {"a": "b"}}', "{"):
        (tmp_path / "renames.json").write_text(text)
        with pytest.raises(ValueError, match=r"renames\.json"):
            Renames.load(tmp_path / "renames.json")


class Spoken(Checkout):
    """A checkout whose command line is a list of answers, and what it was asked."""

    def answer(self, *answers: tuple[int, str, str]) -> list[tuple[str, ...]]:
        asked: list[tuple[str, ...]] = []
        left = list(answers)

        def python(*arguments: str) -> subprocess.CompletedProcess[str]:
            asked.append(arguments)
            code, out, problem = left.pop(0)
            return subprocess.CompletedProcess(arguments, code, out, problem)

        object.__setattr__(self, "python", python)
        return asked


def test_a_setting_is_spelled_as_the_checkout_lists_it(tmp_path: Path) -> None:
    renames = Renames(
        settings={"rl.steps": "rl.batches"}, addresses={"policy": "rl"}, recipes={"tiny": "small"}
    )
    case = Case("small", "small", ("rl.batches=2", "seed=1"))
    older = Spoken("OLD", ROOT, tmp_path, renames)
    older.answer((2, "", "no such recipe"), (0, "  seed=0  int\n    policy[1].batches=40\n", ""))
    assert spelled(older, case) == ["tiny", "policy.batches=2", "seed=1"]
    older.answer((0, "    rl.batches=40\n", ""))
    assert spelled(older, case) == ["small", "rl.batches=2", "seed=1"]
    older.answer((0, "    rl.updates=40\n", ""))
    with pytest.raises(ValueError, match=r"OLD: small has none of the settings rl\.batches"):
        spelled(older, case)


def test_a_gate_that_fails_or_is_unknown_is_no_end(tmp_path: Path) -> None:
    """The run is started again past the one, and without the name of the other."""
    failed = {"name": "learned", "passed": False, "stops": True}
    directory = written(tmp_path / "runs-of").run
    assert directory is not None
    side = Spoken("NEW", ROOT, tmp_path / "runs-of", Renames())
    record = json.loads((directory / "run.json").read_text())
    record["stages"][-1]["findings"] = [failed]
    (directory / "run.json").write_text(json.dumps(record))
    asked = side.answer(
        (2, "", "posttrain: --accept-gate gone: no gate of this recipe is called that"),
        (2, "", "stage rl is made, but did not do its work"),
        (0, "", ""),
    )
    assert run(side, Case("small", "small", (), gates=("gone",))).problem == ""
    assert [[word for word in call if word in ("gone", "learned")] for call in asked] == [
        ["gone"],
        [],
        ["learned"],
    ]


def test_a_fault_is_told(tmp_path: Path) -> None:
    side = Spoken("NEW", ROOT, tmp_path, Renames())
    side.answer((1, "", "posttrain: stage rl failed: KeyError"))
    assert run(side, CASE) == Ran(None, pytest.approx(0, abs=60), "posttrain: stage rl failed: KeyError")


def test_what_is_neither_a_checkout_nor_a_commit_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="neither a directory with a posttrain in it nor a commit"):
        unpacked(ROOT, "no-such-commit", tmp_path)
    assert same_numbers.main(["no-such-commit", str(ROOT)]) == 2
    assert same_numbers.main([str(ROOT), str(ROOT), "--cases", "nothing"]) == 2
    assert "nothing: expected of instructgpt" in capsys.readouterr().err
    assert not build_kernels(tmp_path)  # no sources, so no kernels


def test_the_cases_are_those_that_a_refactoring_must_keep() -> None:
    wanted = "instructgpt dpo tulu3 deepseek_r1_zero rounds best_of_n cartpole cartpole_from_preferences"
    assert {case.recipe for case in CASES} == {*wanted.split(), "thermostat"}
    assert len({case.name for case in CASES}) == len(CASES)
    rounds = next(case for case in CASES if case.recipe == "rounds")
    assert "count=2" in rounds.settings


def test_the_settings_of_every_case_are_settings_of_its_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from same.cases import write_ratings

    from posttrain import settings
    from posttrain.cli import find_recipe

    monkeypatch.chdir(write_ratings(tmp_path).parent)
    for case in CASES:
        settings.expression(find_recipe(case.recipe), settings.parse(list(case.settings)))
