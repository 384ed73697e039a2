"""Run directories as the pipeline leaves them, with numbers drawn here; nothing in them was measured."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from posttrain.metrics import typed
from posttrain.report.catalogue import declared

EDGES = {
    "base": (),
    "demonstrations": (),
    "prompts": (),
    "sft": ("base", "demonstrations"),
    "pairs": ("sft", "prompts"),
    "labels": ("pairs",),
    "rm": ("sft", "labels"),
    "rl": ("sft", "rm", "prompts"),
    "evaluate": ("base", "sft", "rl", "rm", "prompts"),
}
# what a run notes of the stages' classes
DECLARED = {
    "sft": {"does": "instruction tuning"},
    "rl": {"does": "reinforcement", "role": "reinforcement", "control": False},
}
FAMILIES = ("fact", "one_word", "feeling", "how_to", "list", "false_view", "unknown", "sum")
Rows = list[dict[str, Any]]


def product(workspace: Path, address: str, report: Mapping[str, Any], files: Mapping[str, Rows]) -> str:
    """One product directory; returns its path relative to the workspace."""
    fingerprint = (address.encode().hex() * 64)[:64]
    place = workspace / "products" / f"{address}-{fingerprint[:12]}"
    place.mkdir(parents=True)
    for name, rows in files.items():
        (place / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    made = {
        "address": address,
        "stage": f"posttrain.stages.{address}.{address.title()}",
        "fingerprint": fingerprint,
        "content": fingerprint[::-1],
        "settings": {"learning_rate": 3e-4, "method": {"clip_range": 0.2, "kl": {"coef": 0.05}}},
        "seed": 0,
        "inputs": [{"field": one, "address": one} for one in EDGES.get(address, ())],
        "versions": {"posttrain": "0.1.0", "python": "3.11.2", "torch": "2.13.0"},
        "seconds": 3.0 + 7.7 * len(address),
        "peak_bytes": (300 + 40 * len(address)) << 20,
        "report": {"findings": [], "notes": [], **report, "metrics": stored(report.get("metrics", {}))},
    }
    (place / "made.json").write_text(json.dumps(made), encoding="utf-8")
    return place.relative_to(workspace).as_posix()


def stored(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """One flat object of metrics as made.json has them, in their declared units."""
    units = {name: (metric, declared(name, "report", metric)) for name, metric in typed(metrics).items()}
    return {
        name: replace(metric, unit=one.unit if one else "").to_json() for name, (metric, one) in units.items()
    }


def run(
    workspace: Path, reports: Mapping[str, Mapping[str, Any]], files: Mapping[str, Mapping[str, Rows]]
) -> Path:
    """A run of the stages named in ``reports``; returns its directory."""
    directory = workspace / "runs" / "1-instructgpt"
    directory.mkdir(parents=True)
    products = {a: product(workspace, a, report, files.get(a, {})) for a, report in reports.items()}
    stages = [
        {
            "address": address,
            "stage": address.title(),
            "inputs": {one: one for one in EDGES.get(address, ()) if one in reports},
            **DECLARED.get(address, {}),
            "state": "cached" if address in ("base", "demonstrations") else "made",
        }
        for address in reports
    ]
    record = {
        "recipe": "instructgpt",
        "overrides": ["seed=0"],
        "status": "finished",
        "posttrain": "0.1.0",
        "started": "2026-11-21T05:00:00+00:00",
        "finished": "2026-11-21T05:04:12+00:00",
        "accepted_gates": [],
        "stages": stages,
        "products": products,
    }
    (directory / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return directory


def interval(name: str, value: float, half: float = 0.035, count: int = 512) -> dict[str, float]:
    return {name: value, f"{name}_low": value - half, f"{name}_high": value + half, f"{name}_n": count}


def instructgpt(workspace: Path, *, gold: bool = True, steps: int = 90) -> Path:
    """Every stage of the canonical recipe, with or without a gold reward."""
    draw = random.Random(0)
    rl = [row for step in range(1, steps + 1) for row in _updates(draw, step, steps)]
    truth = [
        {"step": s, "gold": v, "gold_low": v - 0.02, "gold_high": v + 0.02}
        for s, v in ((s, 0.52 + 0.17 * math.sin(min(1.0, s / steps) * 1.9)) for s in range(1, steps + 1, 8))
    ]
    samples = [
        {
            "prompt": [{"role": "user", "content": f"What do owls eat? ({place})"}],
            "family": kind,
            "answers": _answers(gold),
        }
        for kind in FAMILIES
        for place in range(6)
    ]
    metrics = evaluated()
    if not gold:
        truth, metrics = [], {k: v for k, v in metrics.items() if not k.startswith(("gold", "win"))}
    reports = reports_of(metrics)
    files = {
        "sft": {
            "metrics.jsonl": [{"step": s, "loss": 2 / s + 0.4, "nll": 2 / s + 0.4} for s in range(1, 120)]
        },
        "rm": {
            "metrics.jsonl": [
                {"step": s, "loss": 0.69 - 0.003 * s, "accuracy": 0.5 + 0.004 * s} for s in range(1, 60)
            ]
        },
        "rl": {"metrics.jsonl": rl, "episodes.jsonl": [{"step": 1, "prompt": "p", "response": "r"}]},
        "evaluate": {"gold.jsonl": truth, "samples.jsonl": samples},
    }
    return run(workspace, reports, files)


def _answers(gold: bool) -> dict[str, dict[str, Any]]:
    texts = {
        "base": "Where do owls live? What is a lion?",
        "sft": "Please ask me more. Owls eat mice.",
        "final": "Owls eat mice.",
    }
    scores = {"base": 0.11, "sft": 0.58, "final": 0.97}
    return {
        m: {"text": t, "reward": scores[m] * 2 - 1} | ({"gold": scores[m]} if gold else {})
        for m, t in texts.items()
    }


def _updates(draw: random.Random, step: int, steps: int) -> Rows:
    gone = step / steps
    collected = {
        "step": step,
        "reward": 1.6 * (1 - math.exp(-3 * gone)) + draw.gauss(0, 0.08),
        "kl": 2.6 * gone**0.8 + abs(draw.gauss(0, 0.05)),
        "entropy_before": 0.62 - 0.3 * gone + draw.gauss(0, 0.01),
        "length": 11.5 - 2 * gone + draw.gauss(0, 0.3),
        "truncated": 0.03 * math.exp(-5 * gone),
        "explained_variance": 0.7 * (1 - math.exp(-6 * gone)) + draw.gauss(0, 0.04),
        "sampler_delta_max": 2e-5 + abs(draw.gauss(0, 4e-6)),
        "kl_coef": 0.05,
        "rows": 256,
        "seconds": 1.4,
    }
    return [
        collected
        | {
            "update": 4 * step + k,
            "clip_fraction": 0.012 * k + abs(draw.gauss(0.01, 0.004)),
            "value_loss": 0.3 * math.exp(-4 * gone) + 0.05,
            "ratio_max": 1 + 0.2 * k + abs(draw.gauss(0, 0.1)),
            "approx_kl": 0.001 * k,
            "grad_norm/policy": abs(draw.gauss(0.5, 0.1)),
        }
        for k in range(4)
    ]


def evaluated() -> dict[str, float]:
    metrics: dict[str, float] = {}
    for name, value in (("final_vs_sft", 0.741), ("final_vs_base", 0.962), ("best_of_4_vs_sft", 0.655)):
        metrics |= interval(f"win_rate/{name}", value)
    metrics |= {"kl": 2.41, "kl_low": 2.3, "kl_high": 2.52}
    for name, value in (("base", 0.08), ("sft", 0.523), ("best_of_4", 0.61), ("final", 0.688)):
        metrics |= interval(f"gold/{name}", value, 0.02)
    parts = {
        "right": (0.5, 0.62),
        "constraint": (0.41, 0.77),
        "manner": (0.55, 0.71),
        "honesty": (0.48, 0.41),
    }
    for part, (before, after) in parts.items():
        metrics |= {f"gold/sft/{part}": before, f"gold/final/{part}": after}
    for part, (before, after) in parts.items():
        metrics |= interval(f"component_change/{part}", after - before, 0.03)
    for place, kind in enumerate(FAMILIES):
        metrics |= {
            f"gold_by_family/sft/{kind}": 0.4 + 0.03 * place,
            f"gold_by_family/final/{kind}": 0.6 + 0.04 * place,
        }
    metrics |= {
        **interval("accuracy", 0.793),
        **interval("accuracy/clear", 0.846),
        "control/word_count": 0.571,
    }
    metrics |= {
        "control/shuffled": 0.497,
        "annotators": 0.741,
        "annotators/careful": 0.86,
        "annotators/careless": 0.56,
    }
    metrics |= interval("gold_change/final_vs_sft", 0.165, 0.02) | {"gold_ties": 0}
    return metrics | {
        "reward/sft": 0.02,
        "reward/final": 1.48,
        "tie_rate/final_vs_sft": 0.12,
        "words/final": 8.1,
    }


def reports_of(evaluation: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    gate = {
        "name": "agrees_with_labels",
        "value": 0.793,
        "threshold": 0.6,
        "passed": True,
        "evidence": "512 held-out pairs",
    }
    accuracy = {
        **interval("accuracy", 0.793),
        **interval("accuracy/clear", 0.846),
        "control/word_count": 0.571,
    }
    return {
        "base": {"metrics": {"facts_heldout": 0.931, "parameters": 1_049_000}},
        "demonstrations": {"metrics": {"rows": 3000}},
        "prompts": {"metrics": {"rows": 4000, "heldout_rows": 512}},
        "sft": {"metrics": {"nll_heldout": 0.412, "ends_heldout": 0.981, "rows": 3000}},
        "pairs": {"metrics": {"rows": 1500, "ended": 0.97}},
        "labels": {
            "metrics": {"agreement": 0.74, "rows": 1432},
            "notes": ["These annotators are simulated."],
        },
        "rm": {"metrics": {**accuracy, "control/shuffled": 0.497, "rows": 1432}, "findings": [gate]},
        "rl": {"metrics": {"reward": 1.48, "kl": 2.38, "steps": 90}},
        "evaluate": {"metrics": dict(evaluation)},
    }
