"""A user's model and files as stages: what recipes share where nothing of the embedded world trains.

A policy begins at the user's model as it is, tuned on the user's demonstrations where there are any, or at
the tuned model that was named. Comparisons are split by their prompts: most train the policy or its reward
model, some a judge that no policy learns from, and the held-out ones train nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from posttrain.core.batch import DirectAlignment
from posttrain.cost.sizes import Size
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.fingerprint import Finished, finished, is_directory
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Stage, base_name, rewrite
from posttrain.recipes.presets import adapter
from posttrain.settings import with_settings
from posttrain.stages.alignment import Alignment
from posttrain.stages.base import ExistingModel
from posttrain.stages.contest import Contest
from posttrain.stages.demonstrations import DemonstrationRows
from posttrain.stages.labels import ComparisonRows
from posttrain.stages.part import PartOfRows
from posttrain.stages.prompts import PromptRows, PromptsOf
from posttrain.stages.rm import RewardModeling
from posttrain.stages.sft import InstructionTuning

if TYPE_CHECKING:
    from posttrain.models.lora import Lora

SMALL = 500_000_000  # parameters, below which a model is taken to be trained on a few cores
RANK = 8  # of a small model's adapters
SLOWER = 5  # instruction tuning's learning rate over that of alignment
TEMPERED = 3  # and over that of reinforcement
JUDGE_SHARE = 0.5  # of the comparisons


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Settings that suit a size of model, by what a stage does: texts for ``with_settings``."""

    demonstrations: str
    comparisons: str  # that a policy or its reward model learns from
    comparisons_alone: str  # the same, where no reward model is trained beside the policy
    judge_comparisons: str
    fitting: str  # of every stage that learns from rows
    modeling: str  # of reward models, after those
    ppo: str
    rlvr: str  # verifiable rewards after alignment
    zero: str  # the same straight from the base
    solve: str
    evaluate: str
    rejection: str
    answers: str  # of every stage that samples
    reasoning: str  # of those that sample answers to problems


# What a run takes follows the model: a small one is done in an hour on two cores at 200 GFLOP/s, however many
# rows there are. Its settings are those of the preset smollm2, a model of that size.
SMALL_MODEL = Sizes(
    demonstrations="rows=1000",
    comparisons="most=300 most_heldout=150",
    comparisons_alone="most=1000 most_heldout=150",
    judge_comparisons="most=250 most_heldout=150",
    fitting="max_length=1024 batch_size=8",
    modeling="batch_size=16 fitted_head=true",
    ppo="""
        method=PPO method.kl.coef=0.1 method.gae_lambda=1 method.epochs=1 method.minibatches=2
        control=AdaptiveKL control.target=4 control.horizon=64 steps=20 prompts_per_step=32 warmup=3
    """,
    rlvr="steps=12 prompts_per_step=8 group_size=6 warmup=3",
    zero="steps=36 prompts_per_step=8 group_size=6 warmup=3",
    solve="rows=200 often=8 often_rows=50",
    evaluate="rows=80",
    rejection="rows=200 heldout=20 answers=4",
    answers="max_completion_length=128 temperature=0.7",
    reasoning="max_completion_length=256",
)
LARGE_MODEL = Sizes(
    demonstrations="rows=0",
    comparisons="most=0 most_heldout=0",
    comparisons_alone="most=0 most_heldout=0",
    judge_comparisons="most=0 most_heldout=0",
    fitting="max_length=1024 batch_size=16",
    modeling="",
    ppo="""
        method=PPO method.kl.coef=0.3 method.epochs=1 method.minibatches=4
        steps=50 prompts_per_step=64
    """,
    rlvr="steps=100 prompts_per_step=32 group_size=16 warmup=10",
    zero="steps=200 prompts_per_step=32 group_size=16 warmup=10",
    solve="",
    evaluate="rows=400",
    rejection="",
    answers="max_completion_length=128",
    reasoning="max_completion_length=512",
)


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
    rate: float  # of instruction tuning
    sizes: Sizes
    lora: Lora | None
    seed: int

    def reward_model(self, comparisons: Stage) -> RewardModeling:
        """A reward model of these comparisons, which grows from the policy."""
        return with_settings(
            RewardModeling(
                base=self.policy,
                comparisons=comparisons,
                learning_rate=self.rate,
                weight_decay=0.0,
                lora=self.lora,
                seed=self.seed,
            ),
            self.sizes.fitting,
            self.sizes.modeling,
        )

    def aligned(self, comparisons: Stage, method: DirectAlignment) -> Alignment:
        """The policy, aligned without a reward model. A failed gate does not stop the recipe: the evaluation
        measures the same, on more rows.
        """
        return with_settings(
            Alignment(
                policy=self.policy,
                comparisons=comparisons,
                method=method,
                learning_rate=self.rate / SLOWER,
                lora=self.lora,
                seed=self.seed,
                gate_stops=False,
            ),
            self.sizes.fitting,
        )

    def compared(
        self,
        *policies: Stage,
        reward_model: Stage | None = None,
        controls: tuple[Stage, ...] = (),
        left_out: tuple[str, ...] = (),
    ) -> Contest:
        """The policies after the first one, side by side with it: by the judge, by the held-out comparisons,
        and with answers to read.
        """
        assert self.prompts is not None  # a recipe that compares policies asks for prompts or comparisons
        before = () if self.base is self.policy else (self.base,)
        return with_settings(
            Contest(
                policies=(self.policy, *policies),
                controls=(*before, *controls),
                prompts=self.prompts,
                reward_model=reward_model,
                judge=self.judge,
                comparisons=self.labels,
                seed=self.seed,
                left_out=left_out,
            ),
            self.sizes.evaluate,
            self.sizes.answers,
        )


def from_own_data(  # size: what a user may bring, each a word on the command line
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
    reward_model: bool = True,
) -> OwnData:
    """Without a ``reward_model`` beside the policy, the policy may learn from more comparisons. Raises
    UserError where a preset is named beside the model, where there are both a tuned model and demonstrations
    to tune on, or a share is none.
    """
    if model != "field_guide":
        raise UserError(f"base={base} and model={model} both name where to begin; give one of them")
    if sft and demonstrations:
        raise UserError(f"sft={sft} is tuned already, and demonstrations={demonstrations} would tune it")
    if not 0 <= judge_share < 1:
        raise UserError(f"judge_share is {judge_share}, expected a share of 0 or more and below 1")
    small = is_small(base)
    sizes = SMALL_MODEL if small else LARGE_MODEL
    rank = lora if lora >= 0 else RANK if small else 0
    rate, adapters = rate_of(small, rank), adapter(rank)
    start = ExistingModel(source=SourceFile(base))
    policy = tuned_model(sft) if sft else start
    if demonstrations:
        rows = DemonstrationRows(source=SourceFile(demonstrations, "datasets"))
        tuning = InstructionTuning(
            base=start,
            demonstrations=with_settings(rows, sizes.demonstrations),
            learning_rate=rate,
            lora=adapters,
            seed=seed,
        )
        policy = with_settings(tuning, sizes.fitting)
    labels = ComparisonRows(source=SourceFile(comparisons, "datasets")) if comparisons else None
    asked: Stage | None = PromptsOf(rows=labels) if labels is not None else None
    if prompts:
        asked = PromptRows(source=SourceFile(prompts, "datasets"))
    data = OwnData(
        base=start,
        policy=policy,
        labels=None,
        judge=None,
        prompts=asked,
        rate=rate,
        sizes=sizes,
        lora=adapters,
        seed=seed,
    )
    if labels is None:
        return data
    part = PartOfRows(name="policy_comparisons", rows=labels, share=1 - judge_share)
    amount = sizes.comparisons if reward_model else sizes.comparisons_alone
    data = replace(data, labels=with_settings(part, amount))
    if not judge_share:
        return data
    rest = with_settings(replace(part, name="judge_comparisons", rest=True), sizes.judge_comparisons)
    return replace(data, judge=replace(data.reward_model(rest), name="judge", gate_stops=False))


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
    tuned = tuned_model(sft)
    if not isinstance(tuned, Finished):
        raise UserError(
            f"sft={sft}: a model on the hub begins alignment on your own data; give base=DIR_OR_HUB_ID, the "
            "model that it was tuned from, and your files"
        )
    return rewrite(recipe, lambda _, now: tuned if base_name(now) == "sft" else now)
