"""The measured distances as a picture and a page."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from posttrain.report.svg import circle, drawing, line, tag, text

REACHED = 0.02  # nats: near enough to call it the same policy
NEAR, FAR = 1e-6, 10.0
STYLE = """
.m{font:12px sans-serif;fill:#1a1a1a}.s{font:11px sans-serif;fill:#666}.axis{stroke:#ccc}
.line{stroke:#2a7f62;stroke-dasharray:3 3}.yes{fill:#2a7f62}.no{fill:#c2571a}
@media (prefers-color-scheme:dark){.m{fill:#eee}.s{fill:#aaa}.axis{stroke:#555}}
"""
HEAD = """# What does each method converge to?

Every method was trained in a world small enough to write its optimum down: {prompts} prompts, {answers}
answers each, a table of logits, batches so large and even that they stand for expectations. The optimum is
π* ∝ π_ref · exp(r / β) with β = {beta}. It earns {best_reward:.3f} at a KL of {best_kl:.3f} nats from the
reference; the reference itself earns {start_reward:.3f} and is {start:.3f} nats from π*; always giving the
best answer earns {greedy_reward:.3f} and is {greedy:.3f} nats from it.

"Defaults" are the method's own, except that the price of KL is {beta} where it charges one. Made again by
`make bench` (`benchmarks/bench_convergence.py`); one seed, because nothing here is random but the start.

![Distance to the optimum, in nats, on a logarithmic axis](convergence.svg)

"""
POLICIES = (
    "| method | settings | KL(π ‖ π*) | KL to its own optimum | KL(π ‖ ref) | reward | why not zero |\n"
    "|---|---|--:|--:|--:|--:|---|\n"
)
REWARDS = """## Reward losses

The error is the largest of any reward within a prompt (of a step's log-odds, for process), up to a constant
per prompt where only comparisons were seen. The KL is of the policy that is optimal for the learned reward.

| method | settings | largest error | KL(π ‖ π*) | why not zero |
|---|---|--:|--:|---|
"""


def write(result: dict[str, Any], root: Path) -> None:
    runs = result["runs"]
    (root / "docs" / "convergence.svg").write_text(picture([r for r in runs if "kl_to_optimum" in r]) + "\n")
    (root / "docs" / "convergence.md").write_text(page(result))


def number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if abs(value) >= 5e-5 else "0.0000"


def page(result: dict[str, Any]) -> str:
    world = result["world"]
    out = HEAD.format(
        prompts=world["prompts"],
        answers=world["answers"],
        beta=world["beta"],
        best_reward=world["optimum"]["reward"],
        best_kl=world["optimum"]["kl_to_reference"],
        start_reward=world["reference"]["reward"],
        start=world["reference"]["kl_to_optimum"],
        greedy_reward=world["best_answer"]["reward"],
        greedy=world["best_answer"]["kl_to_optimum"],
    )
    titles = {"policy_gradients": "Policy gradients", "direct_alignment": "Direct alignment"}
    for folder, title in titles.items():
        out += f"## {title}\n\n{POLICIES}"
        for run in result["runs"]:
            if run["folder"] == folder:
                out += (
                    f"| [{run['method']}](methods/{run['method']}.md) | {run['label']} "
                    f"| {number(run['kl_to_optimum'])} | {number(run['kl_to_own_optimum'])} "
                    f"| {number(run['kl_to_reference'])} | {number(run['reward'])} | {run['reason']} |\n"
                )
        out += "\n"
    out += REWARDS
    for run in result["runs"]:
        if run["folder"] == "reward_losses":
            out += (
                f"| [{run['method']}](methods/{run['method']}.md) | {run['label']} "
                f"| {number(run['reward_error'])} | {number(run.get('kl_to_optimum'))} | {run['reason']} |\n"
            )
    return out


def position(value: float) -> float:
    """Where a distance stands on the axis, 0 to 1."""
    inside = min(max(value, NEAR), FAR)
    return (math.log10(inside) - math.log10(NEAR)) / (math.log10(FAR) - math.log10(NEAR))


def picture(runs: list[dict[str, Any]]) -> str:
    left, right, row = 400.0, 880.0, 17.0
    height = 60 + row * len(runs)
    parts = [tag("style", STYLE), text(left, 16, "KL(policy || optimum), nats", class_="s")]
    for power in range(-6, 2):
        x = left + (right - left) * position(10.0**power)
        parts += [line((x, 30), (x, height - 22), "axis"), text(x - 10, height - 8, f"1e{power}", class_="s")]
    x = left + (right - left) * position(REACHED)
    parts.append(line((x, 30), (x, height - 22), "line"))
    for index, run in enumerate(runs):
        y, value = 42 + row * index, run["kl_to_optimum"]
        x = left + (right - left) * position(value)
        parts.append(text(4, y + 4, f"{run['method']}: {run['label']}", class_="m"))
        parts.append(circle(x, y, 4.5, "yes" if value <= REACHED else "no", f"{value:.5f}"))
    return drawing(900, height, parts, "Distance of every method to the optimum")
