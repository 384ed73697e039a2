"""A user's own reward that raises, or gives what are no rewards: in a run and in a rehearsal it is told which
reward, at which of its lines, on which answer to which prompt, and what to do.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.bad_input.answer import answer, tells

RECIPE = """
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Stage
from posttrain.policy_gradients.grpo import GRPO
from posttrain.rewards.base import Rewards, all_scored
from posttrain.stages.base import ExistingModel
from posttrain.stages.prompts import PromptRows
from posttrain.stages.rl import Reinforcement


@dataclass(frozen=True, kw_only=True)
class Mine:
    fault: str = ""
    token: str = "none"

    @contextmanager
    def open(self, inputs, machine):
        if self.fault == "open":
            raise ConnectionError("no judge at port 1")
        yield self

    def lacks(self, prompt):
        return str({}["answers"]) if self.fault == "lacks" else ""

    def score(self, episodes):
        if self.fault == "form":
            return [1.0 for _ in episodes]
        if self.fault == "length":
            return Rewards(values=torch.ones(len(episodes) - 1), scored=torch.ones(len(episodes) - 1) > 0)
        values = [self.paid(episode) for episode in episodes]
        if self.fault == "list":
            return Rewards(values=values, scored=None)
        return all_scored(torch.tensor(values), "mine")

    def paid(self, episode):
        number = int(episode.prompt["prompt"][-1]["content"].split()[1])
        if self.fault == "raises" and number % 3 == 0:
            raise ValueError(f"no reward for {number} with {self.token}")
        if self.fault == "exits":
            raise SystemExit(0)
        return float("nan") if self.fault == "nan" and number % 3 == 0 else float(number)


def own(base: str, fault: str = "", token: str = "none") -> Stage:
    return Reinforcement(
        policy=ExistingModel(source=SourceFile(base)),
        prompts=PromptRows(source=SourceFile("prompts.jsonl", "datasets")),
        reward=Mine(fault=fault, token=token),
        method=GRPO(),
        steps=1,
        prompts_per_step=4,
        group_size=2,
        max_completion_length=4,
    )
"""
ASKED = r"answer \d of \d, '.*', to prompt 'prompt-\d+' 'Say (0|3|6|9) '"
MEND = r"Mend the reward, or mark what it cannot score as not scored \(Rewards.scored\)"
FAULTS: dict[str, tuple[str, ...]] = {
    "raises": (
        r"reward Mine raised ValueError: no reward for [0369] with .* in score\(\)",
        r"at .*/own\.py:\d+, in score: values = \[self.paid",
        r"at .*/own\.py:\d+, in paid: raise ValueError",
        f"on {ASKED}",
        MEND,
    ),
    "exits": (
        r"reward Mine raised SystemExit: 0 in score\(\)",
        r"own\.py:\d+, in paid",
        "on answer 1 of",
        MEND,
    ),
    "open": (r"Mine raised ConnectionError: no judge at port 1 in open\(\)", r"own\.py:\d+, in open", MEND),
    "lacks": (
        r"Mine raised KeyError: 'answers' in lacks\(\)",
        r"own\.py:\d+, in lacks",
        r"on prompt 'prompt-\d+' 'Say \d+ '",
        MEND,
    ),
    "length": (
        r"reward Mine: got a tensor \[(\d)\] of float32, expected a tensor \[\d\] of numbers, one an",
    ),
    "list": (r"reward Mine: got a list of \d, expected a tensor \[\d\] of numbers, one an answer",),
    "form": (r"reward Mine: score\(\) gave a list of \d, expected Rewards for \d answers; all_scored",),
    "nan": (
        "Mine: [1-9] of . rewards are not finite numbers; the first, nan, is of " + ASKED,
        "Mend the",
    ),
}
SECRET = "hf_" + "a1B2" * 8


@pytest.fixture
def own(home: Path) -> Path:
    (home / "own.py").write_text(RECIPE)
    rows = [{"prompt": f"Say {number} "} for number in range(12)]
    (home / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return home


@pytest.mark.parametrize("fault", FAULTS)
def test_a_reward_that_cannot_be_used_stops_a_run_and_a_rehearsal(fault: str, own: Path, llama: Path) -> None:
    """9 and 10."""
    for command, made in (("doctor", ()), ("run", ("base", "prompts"))):
        sys.modules.pop("own", None)
        wishes = [f"base={llama}", f"fault={fault}", f"token={SECRET}"]
        said = answer([command, "own.py", *wishes], own, llama, made=made)
        tells(said, "stage rl: ", *FAULTS[fault], case=command)
        assert SECRET not in said
        for record in own.rglob("run.json"):
            assert json.loads(record.read_text())["status"] == "failed"
            assert SECRET not in record.read_text()
