"""The recipes that are compared, each made small: a few updates of every stage, on a few rows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

RATINGS = "ratings.jsonl"  # of ``write_ratings``


@dataclass(frozen=True)
class Case:
    """A recipe with settings that make it small.

    ``gates`` are those that fail because a small run learns nothing: naming them saves a start of the program
    each, nothing else, since a gate that fails is accepted whatever its name.
    """

    name: str
    recipe: str
    settings: tuple[str, ...]
    gates: tuple[str, ...] = ()


# Stages of the same settings are made once for all cases: these begin every recipe on the Field Guide.
TUNING = ("demonstrations.rows=160", "demonstrations.heldout=24", "sft.warmup=2")
PAIRS = ("prompts.rows=96", "prompts.heldout=24", "pairs.rows=24", "pairs.heldout=12")
PPO = ("rm.warmup=2", "rl.steps=2", "rl.prompts_per_step=24", "rl.warmup=1")
EVALUATE = ("evaluate.rows=16", "evaluate.samples=2")

VERIFIED = ("rl.steps=2", "rl.prompts_per_step=6", "rl.warmup=1")
CHANCE = "rm_above_chance"
ALIGNED = "alignment_above_chance"

CASES = (
    Case("instructgpt", "instructgpt", (*TUNING, *PAIRS, *PPO, *EVALUATE), (CHANCE,)),
    Case("instructgpt-lora", "instructgpt", ("lora=4", *TUNING, *PAIRS, *PPO, *EVALUATE), (CHANCE,)),
    Case(
        "dpo",
        "dpo",
        (*TUNING, *PAIRS, "alignment.warmup=2", "rm.warmup=2", *EVALUATE),
        (CHANCE, ALIGNED),
    ),
    Case("kto", "dpo", (f"ratings={RATINGS}", *TUNING, "alignment.warmup=2", "alignment.batch_size=16")),
    Case(
        "tulu3",
        "tulu3",
        (
            *("worked.rows=48", "worked.heldout=12", "problems.rows=48", "problems.heldout=12"),
            *("alignment.warmup=2", *TUNING, *PAIRS, *VERIFIED, *EVALUATE),
        ),
        (ALIGNED,),
    ),
    Case(
        "deepseek_r1_zero",
        "deepseek_r1_zero",
        (
            *("prompts.rows=96", "prompts.heldout=24", *VERIFIED, *EVALUATE),
            *("evaluate.often=4", "evaluate.often_rows=4"),
        ),
        ("solves_more",),
    ),
    Case("rounds", "rounds", ("count=2", *TUNING, *PAIRS, *PPO, *EVALUATE), (CHANCE,)),
    Case(
        "best_of_n",
        "best_of_n",
        (
            *("rejection.rows=24", "rejection.heldout=12", "rejection.answers=4", "best_of_n.warmup=1"),
            *("rm.warmup=2", *TUNING, *PAIRS, *EVALUATE),
        ),
        (CHANCE, "sft_learned"),
    ),
    Case("cartpole", "cartpole", ("rl.steps=3", "rl.starts=8", "evaluate.episodes=8")),
    Case("cartpole_from_preferences", "cartpole_from_preferences", ("rl.steps=4", "evaluate.episodes=8")),
    Case("thermostat", "thermostat", ("rl.steps=4", "rl.starts=16", "evaluate.episodes=8")),
)


def write_ratings(directory: Path) -> Path:
    """Forty-eight answers, each rated by itself, for the method that learns from such rows (KTO)."""
    animals = ("otter", "heron", "badger", "salamander", "owl", "hare", "beetle", "trout")
    rows = [
        {
            "prompt": f"Tell me about the {animal}, part {number}.",
            "completion": f"The {animal} lives near water." if number % 2 else f"I do not care, {animal}.",
            "label": bool(number % 2),
        }
        for number in range(6)
        for animal in animals
    ]
    path = directory / RATINGS
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path
