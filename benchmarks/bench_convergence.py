"""What does each method converge to? Every method in a world small enough to write its optimum down.

    python benchmarks/bench_convergence.py [--only NAME] [--steps 400]

Batches are so large and even that they stand for expectations. Writes benchmarks/results/convergence.json,
docs/convergence.svg, docs/convergence.md and the measured part of docs/methods/*.md.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from convergence_cases import BETA, DIRECT_ALIGNMENT, POLICY_GRADIENTS, REWARD_LOSSES, Case  # noqa: E402
from convergence_page import write  # noqa: E402

from posttrain.core.batch import concatenate, take  # noqa: E402
from tests.oracle.converge import aligned, compared, reinforced, scored, unrelated  # noqa: E402
from tests.oracle.prompts import Tabular, World  # noqa: E402
from tests.oracle.verdicts import ends, rankings, right_steps, step_quality  # noqa: E402

WORLD = World()
SEED = 1


def made(folder: str, case: Case) -> Any:
    module = importlib.import_module(f"posttrain.{folder}.{case.method}")
    plain = case.method.replace("_", "")
    kind = next(c for name, c in vars(module).items() if name.lower() == plain and isinstance(c, type))
    return kind(**case.settings)


def own_optimum(case: Case, reference: Tabular) -> Tensor | None:
    """[prompts, answers] log-probabilities of an optimum that is not pi*."""
    log_q, r = WORLD.logprobs(reference).detach(), WORLD.rewards
    wins = (r[:, :, None] - r[:, None, :]).sigmoid()
    if case.target == "teacher":
        return log_q
    if case.target == "uniform":
        return (r / BETA).log_softmax(1)
    if (
        case.target == "ipo"
    ):  # preferred to an answer of the reference; a pair never has the same answer twice
        return ipo_optimum(log_q, wins)
    if case.target == "nash":
        log_p = log_q
        for _ in range(2000):
            beaten = torch.einsum("pab,pb->pa", wins, log_p.exp())
            log_p = (0.98 * log_p + 0.02 * (log_q + beaten / BETA)).log_softmax(1)
        return log_p
    return None


def ipo_optimum(log_q: Tensor, wins: Tensor) -> Tensor:
    """Azar et al. 2023: pi ~ ref exp(P(y > mu) / beta), mu the pairs' distribution."""
    return (log_q + torch.einsum("pab,pb->pa", wins, log_q.exp()) / BETA).log_softmax(1)


def policy_figures(case: Case, policy: Tabular, reference: Tabular) -> dict[str, Any]:
    best = WORLD.best(reference, BETA)
    method_best = own_optimum(case, reference)
    return {
        "kl_to_optimum": WORLD.away(policy, best),
        "kl_to_own_optimum": None if method_best is None else WORLD.away(policy, method_best),
        "kl_to_reference": float(WORLD.kl(policy, reference).detach()),
        "reward": float(WORLD.earned(policy).detach()),
    }


def run_policy_gradient(case: Case, steps: int) -> dict[str, Any]:
    reference = Tabular(WORLD, SEED)
    start = SEED + 1 if case.target == "teacher" else SEED
    policy = Tabular(WORLD, start)
    pairs = case.method in ("online_dpo", "xpo", "nash_md")  # these compare all rows with all rows
    count = 48 if pairs else 192
    reinforced(
        WORLD, policy, made("policy_gradients", case), reference, size=case.size, count=count, steps=steps
    )
    return policy_figures(case, policy, reference)


def run_direct_alignment(case: Case, steps: int) -> dict[str, Any]:
    reference, policy = Tabular(WORLD, SEED), Tabular(WORLD, SEED)
    method = made("direct_alignment", case)

    def data(offset: float) -> Any:
        batch = compared(WORLD, reference, 64, offset, case.flipped)
        if method.wants.measure:
            return together(batch, unrelated(WORLD, batch))
        return wanted_only(batch) if case.method == "sft" else batch

    aligned(WORLD, policy, method, reference, data, steps=4 * steps)
    return policy_figures(case, policy, reference)


def together(batch: Any, other: Any) -> Any:
    shifted = replace(other, rollouts=replace(other.rollouts, group=other.rollouts.group + 10**6))
    return concatenate([batch, shifted])


def wanted_only(batch: Any) -> Any:
    return take(batch, batch.rank == 0)


def run_reward_loss(case: Case, steps: int) -> dict[str, Any]:
    """The largest error of a difference of rewards within a prompt, or of a step's log-odds."""
    reference, model = Tabular(WORLD, SEED), Tabular(WORLD, SEED, scale=0.1)
    method = made("reward_losses", case)
    data = {
        "plackett_luce": lambda offset: rankings(WORLD, reference, 80, case.size, offset),
        "outcome": lambda offset: ends(WORLD, reference, 2048, offset),
        "process": lambda offset: right_steps(WORLD, reference, 256, offset),
    }.get(case.method, lambda offset: compared(WORLD, reference, 256, offset))
    scored(model, method, data, steps=2 * steps)
    with torch.no_grad():
        steps_said = model.score(WORLD.facts)
        mask = WORLD.facts.action_mask
        if case.method == "process":
            off = (steps_said - step_quality(WORLD))[mask]
            return {"reward_error": float(off.abs().max())}
        total = WORLD.per_prompt(torch.where(mask, steps_said, 0).sum(1))
        off = total - WORLD.rewards
        if case.method != "outcome":  # a constant per prompt cannot be known from comparisons
            off = off - off.mean(1, keepdim=True)
        best = WORLD.best(reference, BETA)
        learned = (WORLD.logprobs(reference) + total / BETA).log_softmax(1)
        kl = (learned.exp() * (learned - best)).sum(1).mean()
        return {"reward_error": float(off.abs().max()), "kl_to_optimum": float(kl)}


RUN = {
    "policy_gradients": (POLICY_GRADIENTS, run_policy_gradient),
    "direct_alignment": (DIRECT_ALIGNMENT, run_direct_alignment),
    "reward_losses": (REWARD_LOSSES, run_reward_loss),
}


def world_figures() -> dict[str, Any]:
    reference = Tabular(WORLD, SEED)
    best = WORLD.best(reference, BETA)
    return {
        "beta": BETA,
        "answers": len(WORLD.answers),
        "prompts": len(WORLD.prompts),
        "reference": {
            "kl_to_optimum": WORLD.away(reference, best),
            "reward": float(WORLD.earned(reference).detach()),
        },
        "optimum": {
            "reward": float((best.exp() * WORLD.rewards).sum(1).mean()),
            "kl_to_reference": float(
                (best.exp() * (best - WORLD.logprobs(reference).detach())).sum(1).mean()
            ),
        },
        "best_answer": {
            "kl_to_optimum": float(-best.gather(1, WORLD.rewards.argmax(1)[:, None]).mean()),
            "reward": float(WORLD.rewards.amax(1).mean()),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="methods whose name contains this; the others are kept")
    parser.add_argument("--steps", type=int, default=400)
    ask = parser.parse_args()
    torch.set_num_threads(1)
    where = ROOT / "benchmarks" / "results" / "convergence.json"
    where.parent.mkdir(exist_ok=True)
    earlier = json.loads(where.read_text())["runs"] if ask.only and where.exists() else []
    runs = []
    for folder, (cases, run) in RUN.items():
        for case in cases:
            old = [r for r in earlier if (r["method"], r["label"]) == (case.method, case.label)]
            if ask.only not in case.method and old:
                runs.append({**old[0], "reason": case.reason})
                continue
            if ask.only not in case.method:
                continue
            started = time.perf_counter()
            figures = run(case, ask.steps)
            runs.append(
                {
                    "method": case.method,
                    "folder": folder,
                    "label": case.label,
                    "reason": case.reason,
                    **figures,
                }
            )
            shown = " ".join(f"{k}={v:.4f}" for k, v in figures.items() if v is not None)
            print(
                f"{case.method:30s} {case.label:42s} {shown}  {time.perf_counter() - started:.1f}s",
                flush=True,
            )
    result = {"world": world_figures(), "steps": ask.steps, "runs": runs}
    where.write_text(json.dumps(result, indent=1) + "\n")
    write(result, ROOT)


if __name__ == "__main__":
    main()
