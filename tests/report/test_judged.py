"""On a user's own data the headline says whether the last policy is better, no more firmly than it can be
told.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from posttrain.report import story
from posttrain.report.record import RunRecord
from tests.report import fabricated


def told(tmp_path: Path, won: float, judge: float) -> tuple[str, dict[str, str]]:
    metrics = fabricated.interval("judge_win_rate/rl_vs_sft", won, 0.06, 120)
    metrics |= fabricated.interval("judge_win_rate/rl_vs_alignment", 0.99, 0.005, 120)
    metrics |= fabricated.interval("judge_accuracy", judge, 0.08, 150)
    metrics |= fabricated.interval("implicit_accuracy/rl_vs_sft", 0.66, 0.08, 150)
    metrics |= fabricated.interval("label_accuracy/sft", 0.52, 0.08, 150)
    metrics |= fabricated.interval("label_accuracy/rl", 0.58, 0.08, 150)
    metrics |= fabricated.interval("label_accuracy_change/rl_vs_sft", 0.06, 0.03, 150)
    metrics |= {"gold/sft": "unknown", "gold/rl": "unknown"}  # type: ignore[dict-item]
    directory = fabricated.run(tmp_path, {"evaluate": {"metrics": metrics}}, {})
    run = RunRecord.load(directory, tmp_path)
    said = " ".join(story.verdict(run)).replace("\u202f", " ")
    return said, {key.label: key.value.replace("\u202f", " ") for key in story.keys(run)}


@pytest.mark.parametrize(
    ("won", "claim"),
    [(0.62, "is better than SFT"), (0.55, "cannot be told apart from SFT"), (0.4, "is worse than SFT")],
)
def test_the_judge_is_asked_first_and_quoted_within_its_interval(
    tmp_path: Path, won: float, claim: str
) -> None:
    said, keys = told(tmp_path, won, 0.7)
    assert said.startswith("By a judge that no policy learned from, the RL model " + claim)
    assert "120 prompts" in said
    assert "sides with people in 70.0 % of comparisons that it has not seen" in said
    assert "coin" not in said
    favours = (
        "In 66.0 % of 150 held-out comparisons the RL model favours the chosen answer more than SFT does"
    )
    assert f"{favours} (95 % interval 58.0–74.0 %)." in said
    assert "likelier one per token in 52.0 % under SFT and in 58.0 % under RL (95 % interval of the" in said
    assert "change +3.0 to +9.0 points)." in said
    assert "read some of them side by side" in said
    assert "Gold reward unknown" not in said
    assert keys["the judge prefers RL to SFT, win + ½ tie"] == f"{100 * won:.1f} %"
    assert keys["likelihood sides with people"] == "52.0 % → 58.0 %"
    assert "gold reward" not in keys


def test_a_judge_that_is_a_coin_is_called_one(tmp_path: Path) -> None:
    said, _ = told(tmp_path, 0.62, 0.55)
    assert "no better than a coin: its word is worth nothing" in said


def test_a_run_with_gold_is_told_as_before(tmp_path: Path) -> None:
    run = RunRecord.load(fabricated.instructgpt(tmp_path, steps=4), tmp_path)
    assert "judge" not in " ".join(story.verdict(run))
