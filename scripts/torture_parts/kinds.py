"""The runs that are killed: recipes made small, each with the stages that are under test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Kind:
    """A recipe with settings that make it small.

    ``address``: of the stage that is made under fire; what it reads is made before. Without one the whole
    recipe is, from an empty workspace, by the command line. ``gates``: those of the command line that fail
    because a small run learns nothing. ``batch``: what a start may do again, by the name of a counter (see
    ``counters.COUNTED``): one batch or one chunk, and the answers that every start looks at. ``chunk``: rows
    of a chunk. ``reads``: whether what the stage reads is made before; otherwise it is under fire as well.
    """

    name: str
    recipe: str
    settings: tuple[str, ...]
    address: str = ""
    gates: tuple[str, ...] = ()
    batch: dict[str, int] = field(default_factory=dict)
    chunk: int = 8
    reads: bool = True

    @property
    def words(self) -> list[str]:
        """What follows ``posttrain run``."""
        return [self.recipe, *self.settings, *(w for gate in self.gates for w in ("--accept-gate", gate))]


PROBE = 6  # answers by which a start of reinforcement looks at the sampler
TUNING = ("demonstrations.rows=96", "demonstrations.heldout=16", "sft.warmup=2", "sft.batch_size=8")
PAIRS = ("prompts.rows=48", "prompts.heldout=16", "pairs.rows=32", "pairs.heldout=8", "pairs.answers=3")
SHORT = ("pairs.max_completion_length=24", "evaluate.max_completion_length=24")
RM = ("rm.warmup=2", "rm.batch_size=8", "rm.epochs=1")
FEW = (*TUNING, *PAIRS, *SHORT, *RM)
EVALUATE = ("evaluate.rows=12", "evaluate.samples=2", "evaluate.best_of=3")
VERIFIED = ("prompts.rows=48", "prompts.heldout=16", "rl.warmup=1", "rl.max_completion_length=24")
TWICE = ("rl.method.epochs=2", "rl.method.minibatches=2")  # four updates a batch
ADAPTIVE = ("rl.control=adaptive_kl", "rl.control.target=0.5", "rl.control.horizon=100")


def rl(*settings: str, steps: int = 5, prompts: int = 8) -> tuple[str, ...]:
    """Reinforcement of a few small steps."""
    sizes = (f"rl.steps={steps}", f"rl.prompts_per_step={prompts}", "rl.max_completion_length=24")
    return (*FEW, *sizes, "rl.warmup=1", *settings)


REJECTION = (
    *("rejection.rows=24", "rejection.heldout=8"),
    *("rejection.answers=4", "rejection.max_completion_length=24"),
)
COMPARED = (
    *("rl.comparisons.at_first=60", "rl.comparisons.first_plays=16"),
    *("rl.comparisons.most=200", "rl.comparisons.every=2"),
)

KINDS = (
    Kind("sft", "instructgpt", FEW, "sft", batch={"encoded": 8, "updates": 1}),
    Kind("rm", "instructgpt", (*FEW, "rm.mismatched=0.3"), "rm", batch={"encoded": 8, "updates": 1}),
    Kind(
        "ppo",
        "instructgpt",
        rl(*ADAPTIVE, *TWICE, "rl.average=0.9", "rl.decay_to_start=0.1"),
        "rl",
        batch={"answers": 8 + PROBE, "updates": 4},
    ),
    Kind(
        "ppo-lora",
        "instructgpt",
        rl(*ADAPTIVE, *TWICE, "rl.lora=lora", "rl.lora.rank=4", "rl.average=0.9"),
        "rl",
        batch={"answers": 8 + PROBE, "updates": 4},
    ),
    Kind(
        "grpo",
        "instructgpt",
        rl("rl.method=grpo", "rl.group_size=4", *TWICE, prompts=4),
        "rl",
        batch={"answers": 16 + PROBE, "updates": 4},
    ),
    Kind(
        "dapo",
        "deepseek_r1_zero",
        (*VERIFIED, "rl.method=dapo", "rl.steps=5", "rl.prompts_per_step=4", "rl.group_size=4"),
        "rl",
        batch={"answers": 64 + PROBE, "updates": 4},
    ),
    Kind("remax", "instructgpt", rl("rl.method=remax"), "rl", batch={"answers": 16 + PROBE, "updates": 1}),
    Kind(
        "dpo",
        "dpo",
        (*FEW, "alignment.batch_size=4", *("alignment.sft_coef=0.1", "alignment.decay_to_start=0.1")),
        "alignment",
        batch={"encoded": 8, "read": 8, "updates": 1},
    ),
    Kind(
        "kto",
        "dpo",
        (*FEW, "alignment.warmup=2", "alignment.batch_size=8", "alignment.method=kto"),
        "alignment",
        batch={"encoded": 8, "read": 8, "updates": 1},
    ),
    Kind(
        "online_dpo",
        "instructgpt",
        rl("rl.method=online_dpo", "rl.group_size=2", prompts=4),
        "rl",
        batch={"answers": 8 + PROBE, "updates": 1},
    ),
    Kind(
        "rejection",
        "best_of_n",
        (*FEW, *REJECTION),
        "rejection",
        batch={"answers": 8},
    ),
    Kind("pairs", "instructgpt", FEW, "pairs", batch={"answers": 9}),
    Kind("evaluation", "instructgpt", (*rl(*TWICE), *EVALUATE), "evaluate", batch={"answers": 9}),
    Kind(
        "cartpole_from_preferences",
        "cartpole_from_preferences",
        ("rl.steps=6", "rl.starts=8", "evaluate.episodes=8", *COMPARED),
        "evaluate",
        batch={"plays": 2, "updates": 16 + 120},  # the untrained play; the learned reward
        reads=False,
    ),
    Kind(
        "instructgpt",
        "instructgpt",
        (*rl(*TWICE, steps=3), *EVALUATE),
        gates=("rm_above_chance",),
        batch={"encoded": 8, "answers": 9 + PROBE, "updates": 8},
    ),
)
NAMED: dict[str, Any] = {kind.name: kind for kind in KINDS}
