"""A test of the test: a method that breaks a promise makes the suite fail, each in its own way."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract import rules
from tests.contract.found import ROOT, Found, load
from tests.contract.policy_gradients import ENTRIES

PPO = (ROOT / "posttrain" / "policy_gradients" / "ppo.py").read_text()
# what is broken: the line, what stands there instead, and the rule that has to notice
BROKEN = {
    "no formula": ("``L = -E[min(", "L: E[min(", rules.explains_itself),
    "no year": (
        "2017, as used for language by Ziegler et al. 2019 and InstructGPT (Ouyang et al. 2022)",
        "long ago",
        rules.explains_itself,
    ),
    "a mean over its own micro-batch": (
        "Term(-gain * experience.weights, token_mean)",
        "Term(-gain * experience.weights"
        " * experience.rollouts.action_mask.numel() / experience.rollouts.action_mask.sum(),"
        " token_mean)",
        rules.is_the_same_in_any_layout,
    ),
    "the padded width": (
        "Term(-gain * experience.weights, token_mean)",
        "Term(-gain * experience.weights / mask.shape[1], token_mean)",
        rules.is_the_same_in_any_layout,
    ),
    "the first row is special": (
        "        values = self.values_of(now, mask)\n",
        "        values = self.values_of(now, mask)\n        gain = gain - gain[:1]\n",
        rules.is_the_same_in_any_layout,
    ),
    "junk is read": (
        "self.values_of(experience.before, mask)",
        "experience.before.values",
        rules.junk_leaves_no_trace,
    ),
    "a sum instead of a mean": (
        "        values = self.values_of(now, mask)\n",
        "        values = self.values_of(now, mask)\n        gain = gain * now.logprobs.shape[0]\n",
        rules.twice_the_batch_is_the_batch,
    ),
    "an exponent without bound": (
        "ratio(now.logprobs, experience.before.logprobs, mask)",
        "(now.logprobs - experience.before.logprobs).exp()",
        rules.stays_finite,
    ),
    "the other sign": ("Term(-gain", "Term(gain", rules.follows_its_formula),
    "anything goes": ('fraction(self, "gamma", "gae_lambda")', "pass", rules.refuses_what_means_nothing),
}


def broken(folder: Path, name: str) -> Found:
    line, instead, _ = BROKEN[name]
    assert PPO.count(line) >= 1, f"{name}: ppo.py no longer has {line!r}"
    path = folder / "ppo.py"
    path.write_text(PPO.replace(line, instead))
    return load("policy_gradients", path)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_method_is_found(name: str, tmp_path: Path) -> None:
    found = broken(tmp_path, name)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        BROKEN[name][2](found, ENTRIES["ppo"])


def test_the_whole_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "ppo.py").write_text(PPO)
    found = load("policy_gradients", tmp_path / "ppo.py")
    for rule in {rule for _, _, rule in BROKEN.values()}:
        rule(found, ENTRIES["ppo"])


def test_a_method_without_a_page_is_found(tmp_path: Path) -> None:
    (tmp_path / "newest.py").write_text(PPO.replace("class PPO", "class Newest"))
    with pytest.raises(AssertionError, match=r"docs/methods/newest\.md"):
        rules.has_a_page(load("policy_gradients", tmp_path / "newest.py"), ENTRIES["ppo"])


def test_a_file_without_its_class_is_found(tmp_path: Path) -> None:
    (tmp_path / "newest.py").write_text(PPO)
    with pytest.raises(AssertionError, match="no dataclass is called like it"):
        _ = load("policy_gradients", tmp_path / "newest.py").kind


def test_a_copied_group_of_one_is_refused_by_methods_that_compare(tmp_path: Path) -> None:
    from dataclasses import replace

    (tmp_path / "ppo.py").write_text(PPO)
    found = load("policy_gradients", tmp_path / "ppo.py")
    with pytest.raises(pytest.fail.Exception):
        rules.refuses_a_group_of_one(found, replace(ENTRIES["ppo"], grouped=True))
