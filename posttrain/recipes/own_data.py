"""A user's model and files as stages: what recipes share where nothing of the embedded world trains.

A policy begins at the user's model as it is, tuned on the user's demonstrations where there are any, or at
the tuned model that was named. Comparisons are split by their prompts: most train the policy or its reward
model, some a judge that no policy learns from, and the held-out ones train nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from posttrain.core.kl import KLInReward
from posttrain.cost.sizes import Size
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.fingerprint import Finished, finished, is_directory
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Stage, base_name, rewrite
from posttrain.policy_gradients.ppo import PPO
from posttrain.recipes.presets import Settings, adapter
from posttrain.stages.base import ExistingModel
from posttrain.stages.contest import Contest
from posttrain.stages.demonstrations import DemonstrationRows
from posttrain.stages.labels import ComparisonRows
from posttrain.stages.part import PartOfRows
from posttrain.stages.prompts import PromptRows, PromptsOf
from posttrain.stages.rm import RewardModeling
from posttrain.stages.sft import InstructionTuning
from posttrain.training.kl_control import AdaptiveKL

SMALL = 500_000_000  # parameters, below which a model is taken to be trained on a few cores
RANK = 8  # of a small model's adapters
SLOWER = 5  # instruction tuning's learning rate over that of alignment
TEMPERED = 3  # and over that of reinforcement
JUDGE_SHARE = 0.5  # of the comparisons
GATE_IS_TOLD: Settings = {"gate_stops": False}  # what follows measures the same, with more

# What a run takes follows the model: a small one is done in an hour on two cores at 200 GFLOP/s, however many
# rows there are. Its settings are those of the preset smollm2, a model of that size.
SIZES: dict[str, dict[str, Settings]] = {
    "small": {
        "rows": {"sft": 1000, "dpo": 1000, "other": 300, "judge": 250, "heldout": 150},
        "fit": {"batch_size": 8},
        "modeling": {"batch_size": 16, "fitted_head": True},
        "ppo": {
            "method": PPO(kl=KLInReward(coef=0.1), gae_lambda=1.0, epochs=1, minibatches=2),
            "control": AdaptiveKL(target=4.0, horizon=64),
            "steps": 20,
            "prompts_per_step": 32,
            "warmup": 3,
        },
        "rlvr": {"steps": 12, "prompts_per_step": 8, "group_size": 6, "warmup": 3},
        "zero": {"steps": 36, "prompts_per_step": 8, "group_size": 6, "warmup": 3},
        "solve": {"rows": 200, "often": 8, "often_rows": 50},
        "evaluate": {"rows": 80},
        "rejection": {"rows": 200, "heldout": 20, "answers": 4},
        "answers": {"max_completion_length": 128, "temperature": 0.7},
        "reasoning": {"max_completion_length": 256},
    },
    "large": {
        "rows": {"sft": 0, "dpo": 0, "other": 0, "judge": 0, "heldout": 0},
        "fit": {"batch_size": 16},
        "modeling": {},
        "ppo": {
            "method": PPO(kl=KLInReward(coef=0.3), epochs=1, minibatches=4),
            "steps": 50,
            "prompts_per_step": 64,
        },
        "rlvr": {"steps": 100, "prompts_per_step": 32, "group_size": 16, "warmup": 10},
        "zero": {"steps": 200, "prompts_per_step": 32, "group_size": 16, "warmup": 10},
        "solve": {},
        "evaluate": {"rows": 400},
        "rejection": {},
        "answers": {"max_completion_length": 128},
        "reasoning": {"max_completion_length": 512},
    },
}


def is_small(base: str) -> bool:
    """Whether a model has fewer than ``SMALL`` parameters. One on the hub, whose size is not known before it
    is fetched, counts as small: a first run that ends too early costs less than one that never does.
    """
    directory = SourceFile(base).local
    try:
        size = Size.of_directory(directory) if directory is not None and directory.is_dir() else None
    except UserError:  # no model: preflight says so, beside what is wrong with the other files
        size = None
    return size is None or size.parameters < SMALL


def rate_of(small: bool, rank: int) -> float:
    """The learning rate of instruction tuning."""
    if small:
        return 1e-3 if rank else 5e-5
    return 2e-4 if rank else 1e-5


@dataclass(frozen=True, kw_only=True)
class OwnData:
    """The stages that come of a user's model and files, and the settings that suit the model."""

    base: Stage
    policy: Stage  # where alignment begins
    labels: Stage | None  # comparisons that the policy, or its reward model, learns from and is measured on
    judge: RewardModeling | None
    prompts: Stage | None
    rate: float
    fit: Settings
    sizes: dict[str, Settings]
    shared: dict[str, Any]

    @property
    def aligning(self) -> Settings:
        """Of a stage that learns from ``labels`` without a reward model."""
        return {**self.fit, **self.shared, "learning_rate": self.rate / SLOWER}

    @property
    def modeling(self) -> Settings:
        """Of a reward model."""
        own: Settings = {"learning_rate": self.rate, "weight_decay": 0.0}
        return {**self.fit, **self.shared, **own, **self.sizes["modeling"]}

    @property
    def learning(self) -> Settings:
        """Of reinforcement; how much of it is in ``sizes``."""
        return {**self.shared, "learning_rate": self.rate / TEMPERED}

    def compared(self, *policies: Stage, **more: Any) -> Contest:
        """The policies after the first one, side by side with it: by the judge, by the held-out comparisons,
        and with answers to read.
        """
        before = () if self.base is self.policy else (self.base,)
        given: dict[str, Any] = {
            "prompts": self.prompts,
            "judge": self.judge,
            "comparisons": self.labels,
            "seed": self.shared["seed"],
            **self.sizes["evaluate"],
            **self.sizes["answers"],
            **more,
        }
        given["controls"] = (*before, *more.get("controls", ()))
        return Contest(policies=(self.policy, *policies), **given)


def from_own_data(  # size: what a user may bring, each a word on the command line
    recipe: str,
    seed: int,
    base: str,
    lora: int,
    *,
    model: str = "field_guide",
    sft: str = "",
    demonstrations: str = "",
    comparisons: str = "",
    prompts: str = "",
    judge_share: float = JUDGE_SHARE,
) -> OwnData:
    """Raises UserError where a preset is named beside the model, where there are both a tuned model and
    demonstrations to tune on, or a share is none.
    """
    if model != "field_guide":
        raise UserError(f"base={base} and model={model} both name where to begin; give one of them")
    if sft and demonstrations:
        raise UserError(f"sft={sft} is tuned already, and demonstrations={demonstrations} would tune it")
    if not 0 <= judge_share < 1:
        raise UserError(f"judge_share is {judge_share}, expected a share of 0 or more and below 1")
    small = is_small(base)
    sizes = SIZES["small" if small else "large"]
    rank = lora if lora >= 0 else RANK if small else 0
    shared: Settings = {"lora": adapter(rank), "seed": seed}
    fit: Settings = {"max_length": 1024, **sizes["fit"]}
    given = ExistingModel(source=SourceFile(base))
    policy = tuned_model(sft) if sft else given
    if demonstrations:
        shown = DemonstrationRows(source=SourceFile(demonstrations, "datasets"), rows=sizes["rows"]["sft"])
        tuning: Settings = {**fit, **shared, "learning_rate": rate_of(small, rank)}
        policy = InstructionTuning(base=given, demonstrations=shown, **tuning)
    rows = ComparisonRows(source=SourceFile(comparisons, "datasets")) if comparisons else None
    counts: dict[str, int] = sizes["rows"]
    most = counts.get(recipe, counts["other"])
    labels = judged = None
    if rows is not None:
        held = counts["heldout"]
        labels = PartOfRows(
            name="policy_comparisons", rows=rows, share=1 - judge_share, most=most, most_heldout=held
        )
    if rows is not None and judge_share:
        judged = PartOfRows(
            name="judge_comparisons",
            rows=rows,
            share=1 - judge_share,
            rest=True,
            most=sizes["rows"]["judge"],
            most_heldout=sizes["rows"]["heldout"],
        )
    asked: Stage | None = PromptsOf(rows=rows) if rows is not None else None
    if prompts:
        asked = PromptRows(source=SourceFile(prompts, "datasets"))
    found = OwnData(
        base=given,
        policy=policy,
        labels=labels,
        judge=None,
        prompts=asked,
        rate=rate_of(small, rank),
        fit=fit,
        sizes=sizes,
        shared=shared,
    )
    if judged is None:
        return found
    judging: Settings = {**found.modeling, **GATE_IS_TOLD}
    return replace(found, judge=RewardModeling(name="judge", base=policy, comparisons=judged, **judging))


def tuned_model(sft: str) -> Stage:
    """The tuned model that a user named: the directory of one, or a name on the hub, which is pinned and
    fetched as that of a base is. Raises UserError where it is neither.
    """
    source = SourceFile(sft)
    if not sft or not source.hub_name or is_directory(sft, "sft"):
        return finished(sft, "sft")
    return ExistingModel(name="sft", source=source)


def need_comparisons(recipe: str, comparisons: str) -> None:
    """Raises UserError where a recipe that learns from comparisons was given none of the user's."""
    if not comparisons:
        raise UserError(
            f"{recipe} on a model of your own learns from your comparisons, and there are none: give "
            "comparisons=FILE with rows {prompt, chosen, rejected}. The embedded world's train only the "
            "embedded model"
        )


def with_finished_sft(recipe: Stage, sft: str) -> Stage:
    """The recipe of the embedded world with a finished model in the place of its instruction tuning, where
    one is named. Raises UserError for one on the hub, which is no product of a recipe.
    """
    if not sft:
        return recipe
    known = tuned_model(sft)
    if not isinstance(known, Finished):
        raise UserError(
            f"sft={sft}: a model on the hub begins alignment on your own data; give base=DIR_OR_HUB_ID, the "
            "model that it was tuned from, and your files"
        )
    return rewrite(recipe, lambda _, now: known if base_name(now) == "sft" else now)
