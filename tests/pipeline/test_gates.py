"""A gate is accepted by its name, and a name that no gate has is refused before the work."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.gates import names
from posttrain.pipeline.runner import run
from posttrain.pipeline.stage import Inputs, Machine, Report, Stage, addresses, judging
from posttrain.pipeline.store import Workspace
from posttrain.recipes.instructgpt import instructgpt


@dataclass(frozen=True, kw_only=True)
class Gated(Stage):
    address = "gated"
    text: str = "x"

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        return Report(metrics={"length": len(self.text), "text": self.text})

    def gates(self, report: Report) -> list[Finding]:
        return [Finding(name="long", value=report.values["length"], passed=bool(report.values["length"]))]


@dataclass(frozen=True, kw_only=True)
class Measured(Gated):
    least: int = judging(0)

    def gates(self, report: Report) -> list[Finding]:
        length = int(report.values["length"])
        return [Finding(name="long", value=length, threshold=self.least, passed=length >= self.least)]


class Odd(Gated):
    def gates(self, report: Report) -> list[Finding]:
        return [Finding(name="told", value=str(report.values["text"]).upper() + report.values["text"])]  # type: ignore[operator]


class Told(Gated):
    def gates(self, report: Report) -> list[Finding]:
        return [Finding(name="fell", value=0, passed=False, advice="look at it", stops=False)]


class Learning(Gated):
    def gates(self, report: Report) -> list[Finding]:
        return [
            Finding(name="fell", value=0, passed=False, learning=True, stops=False),
            Finding(name="torn", value=0, passed=False, stops=False),
        ]


def test_a_rehearsal_does_not_tell_what_it_does_not_judge(tmp_path: Path) -> None:
    """Nothing has learned in it; what stands in the record is told by nobody."""
    assert "  torn = 0" in go(Learning(), tmp_path, None)
    assert "  fell = 0" not in go(Learning(), tmp_path / "again", None)
    assert "  fell = 0" in go(Learning(), tmp_path / "in a run", [])


def go(stage: Stage, tmp_path: Path, accept: list[str] | None) -> list[str]:
    said: list[str] = []
    run(stage, Workspace(tmp_path / "work"), Machine(), accept=accept, say=said.append)
    return said


@pytest.mark.parametrize("wish", ["lomg", "gated.lomg"])
def test_a_misspelt_gate_is_refused_before_anything_is_made(tmp_path: Path, wish: str) -> None:
    with pytest.raises(UserError, match=rf"--accept-gate {wish}: no gate .*did you mean (gated\.)?long\?"):
        go(Gated(), tmp_path, [wish])
    assert not (tmp_path / "work").exists()


def test_an_accepted_gate_that_did_not_fail_is_said(tmp_path: Path) -> None:
    assert any("--accept-gate long was not needed" in line for line in go(Gated(), tmp_path, ["long"]))
    assert not any("was not needed" in line for line in go(Gated(text=""), tmp_path, ["gated.long"]))


def test_a_stage_that_cannot_name_its_gates_before_its_work_is_asked_afterwards(tmp_path: Path) -> None:
    assert names(Odd()) is None
    assert any("--accept-gate tpld was not needed" in line for line in go(Odd(), tmp_path, ["tpld"]))


def test_another_threshold_judges_what_is_made_and_makes_nothing_again(tmp_path: Path) -> None:
    def judge(least: int) -> list[str]:
        stage = Measured(text="xyz", least=least)
        return run(stage, Workspace(tmp_path / "work"), Machine(), say=lambda text: None).made

    assert judge(0) == ["gated"]
    assert judge(3) == []
    with pytest.raises(
        UserError, match=r"(?s)stage gated is made, but did not do its work.*long = 3, threshold 4"
    ):
        judge(4)


def test_a_finding_that_does_not_stop_is_printed_and_kept(tmp_path: Path) -> None:
    said: list[str] = []
    done = run(Told(), Workspace(tmp_path / "work"), Machine(), say=said.append)
    assert any("fell" in line and "look at it" in line for line in said)
    assert done.record["status"] == "finished"
    assert done.record["stages"][-1]["findings"][0]["passed"] is False


def test_every_gate_of_the_recipe_is_known_by_name() -> None:
    recipe = instructgpt(evidence="full")
    known = {address: names(stage) for address, stage in addresses(recipe).items()}
    assert None not in known.values()
    assert known["base"] == ["base_facts", "base_continues"]
    assert known["rl"] == [
        *("rl_same_at_the_start", "rl_reward_rose", "rl_kl_budget", "rl_more_than_length"),
        *("rl_reward_varies", "rl_answers_end", "rl_entropy", "rl_length_drift", "rl_clip_fraction"),
    ]
    assert known["sft"] == ["sft_learned", "sft_ends", "sft_fits"]
    assert known["rm"] == ["rm_above_chance", "rm_more_than_length", "rm_calibrated"]
    assert known["rm_shuffled"] == []


@dataclass(frozen=True, kw_only=True)
class After(Gated):
    address = "after"
    before: Stage


def test_a_gate_accepted_of_one_stage_stops_another(tmp_path: Path) -> None:
    recipe = After(text="", before=Gated(text=""))
    with pytest.raises(UserError, match="stage after is made, but did not do its work"):
        go(recipe, tmp_path, ["gated.long"])
    go(recipe, tmp_path, ["gated.long", "after.long"])
    go(recipe, tmp_path, ["long"])
