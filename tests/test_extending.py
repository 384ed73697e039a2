"""The files of docs/extending.md are what its text says: written down as they stand there, and run."""

from __future__ import annotations

import importlib
import json
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from posttrain import settings
from posttrain.cli import find_recipe, main
from posttrain.core.kl import KLInReward
from posttrain.pipeline.fingerprint import Fingerprints
from posttrain.pipeline.outside import outside
from posttrain.pipeline.stage import addresses
from posttrain.pipeline.store import Workspace
from tests.policy_gradients.scene import STEPS, Scene, agree, others, totals
from tests.rewards.adversarial import scored

PAGE = Path(__file__).resolve().parent.parent / "docs" / "extending.md"
FILES = {
    found[1]: found[0]
    for found in re.findall(r"```python\n(# (\w+)\.py\n.*?)```", PAGE.read_text("utf-8"), re.S)
}


@pytest.fixture(autouse=True)
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The page's files in a directory of their own, and no trace of them afterwards."""
    for name, text in FILES.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in FILES:
        sys.modules.pop(name, None)


def loaded() -> Any:
    """The recipe as the command line finds it."""
    for name in FILES:
        sys.modules.pop(name, None)
    return find_recipe("./short_answers.py")


def test_the_page_has_a_reward_a_method_and_a_recipe() -> None:
    assert list(FILES) == ["brief", "short_words", "signed", "short_answers"]


def test_the_function_pays_what_it_says(beside: Path) -> None:
    brief = outside(f"{beside}/brief.py:brief")
    assert brief("a cat slept", ended=True) == 1.0
    assert brief("word " * 24, ended=True) == 0.5
    assert brief("a cat", ended=False) == 0.0


def test_the_reward_pays_what_it_says() -> None:
    loaded()
    cases = [("a cat slept", True), ("tremendously", True), ("", True), ("a cat", False)]
    found = scored(sys.modules["short_words"].ShortWords(), [({}, text) for text, _ in cases])
    assert found.values.tolist() == pytest.approx([2 / 3, 0, 0, 1])
    assert found.scored.all()
    from tests.rewards.adversarial import episode

    assert sys.modules["short_words"].ShortWords().paid(episode({}, "a cat", ended=False)) == 0


def test_the_method_is_its_formula() -> None:
    loaded()
    scene = Scene()
    worth, want = totals(scene, 0.3), torch.zeros(())
    for row, steps in enumerate(STEPS):
        advantage = worth[row] - sum(worth[j] for j in others(row)) / len(others(row))
        want = want - math.copysign(1, advantage) * sum(scene.now[row, t] for t in steps) / 5
    agree(scene, sys.modules["signed"].Signed(kl=KLInReward(coef=0.3)), want)


def test_the_recipe_is_built_of_the_files_beside_it() -> None:
    wishes = settings.parse(["letters=3", "rl.steps=40", "rl.method.kl.coef=0.1"])
    rl: Any = addresses(settings.expression(loaded(), wishes))["rl"]
    assert list(addresses(rl)) == ["base", "demonstrations", "prompts", "sft", "rl"]
    assert (rl.reward.letters, rl.steps, rl.method.kl.coef) == (3, 40, 0.1)


def test_a_change_of_a_file_makes_what_uses_it_again_and_nothing_else(beside: Path) -> None:
    def known() -> dict[str, str]:
        of = Fingerprints(Workspace(beside / "workspace"))
        return {name: of.of(stage) for name, stage in addresses(loaded()()).items()}

    before = known()
    reward = beside / "short_words.py"
    reward.write_text(reward.read_text().replace("<= self.letters", "< self.letters"))
    after = known()
    assert {name for name in before if before[name] != after[name]} == {"rl"}


def test_a_file_beside_a_recipe_hides_no_package(beside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (beside / "colorsys.py").write_text("raise AssertionError('read in place of the standard library')")
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    loaded()
    assert str(beside) in sys.path
    assert importlib.import_module("colorsys").rgb_to_hsv(0, 0, 0) == (0, 0, 0)


@pytest.mark.slow
def test_it_runs_as_it_is_printed(beside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["demonstrations.rows=64", "rl.steps=2", "rl.prompts_per_step=8", "prompts.heldout=8"]
    for name in FILES:
        sys.modules.pop(name, None)
    gates = ["sft_learned", "rl_reward_rose", "rl_answers_end", "rl_reward_varies"]
    accepted = [word for gate in gates for word in ("--accept-gate", gate)]
    assert main(["run", "./short_answers.py", *small, *accepted, "--quiet"]) == 0
    episodes = next((beside / "workspace" / "products").glob("rl-*/episodes.jsonl")).read_text().splitlines()
    assert len(episodes) > 0
    assert all("short_words" in json.loads(line)["parts"] for line in episodes)
    capsys.readouterr()
