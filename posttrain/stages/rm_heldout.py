"""What a reward model is worth on held-out comparisons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from posttrain.metrics import Metric, declare_metric
from posttrain.pipeline.stage import Machine

if TYPE_CHECKING:
    from posttrain.models.language_policy import LanguageReward
    from posttrain.storage.preference_store import PreferenceStore

LABEL_ACCURACY = declare_metric(
    "label_accuracy",
    "Share of held-out comparisons in which what was chosen scores higher, by the reward model or by the "
    "policy's implicit reward.",
    unit="share of comparisons",
    better="up",
    axis="Agreement with held-out labels",
    level="chance",
    title="agreement with held-out labels",
)
LABELS_LONGER = declare_metric(
    "label_control/longer",
    "Share of held-out comparisons in which the chosen answer is the longer one; ties as half.",
    unit="share of comparisons",
    better="none",
    axis="Agreement with held-out labels",
    level="chance",
    label="length alone",
    baseline=True,
)
UNTRAINED_TRUNK = declare_metric(
    "label_accuracy_untrained_trunk",
    "Agreement with held-out labels of the fitted head on the trunk as it was before training.",
    unit="share of comparisons",
    better="none",
    axis="Agreement with held-out labels",
    label="the fitted head alone",
    baseline=True,
)
AFTER_TRAINING = declare_metric(
    "{metric}_heldout",
    "After training, on held-out comparisons:",
    unit="",
    better="none",
    title="{metric}, held out",
)


def loss_floor(comparisons: PreferenceStore) -> float:
    """The least mean loss that labels as sure as these allow, in nats a pair."""
    import torch

    from posttrain.core.preferences import floor

    return float(floor(torch.tensor([pair.confidence for pair in comparisons], dtype=torch.float64)).mean())


def heldout_metrics(
    reward: LanguageReward, held: PreferenceStore, pad_id: int, machine: Machine
) -> dict[str, Metric]:
    """How often the chosen answer scores higher on held-out comparisons, how sure the model is of it, and how
    often the chosen answer, and the one that scores higher, are the longer ones.
    """
    from posttrain.core.implicit_reward import PAIR_LOSS
    from posttrain.evaluation.confidence_and_length import confidence_and_length
    from posttrain.evaluation.intervals import wilson
    from posttrain.reward_losses.bradley_terry import PAIR_LOSS_FLOOR
    from posttrain.rollouts.encode import scores

    if not held:
        return LABEL_ACCURACY.of("unknown")
    import torch

    from posttrain.core.preferences import logistic

    rewards = scores(reward, held.rows, pad_id, machine.micro_batch_tokens)
    right = int((rewards[::2] > rewards[1::2]).sum())
    confidence = torch.tensor([pair.confidence for pair in held])
    more = [sum(pair.rows[0].mask) - sum(pair.rows[1].mask) for pair in held]
    longer = sum((tokens > 0) + (tokens == 0) / 2 for tokens in more)
    metrics = LABEL_ACCURACY.of(wilson(right, len(held)))
    metrics |= confidence_and_length(rewards[::2] - rewards[1::2], more)
    loss = float(logistic(rewards[::2] - rewards[1::2], confidence).mean())
    metrics |= AFTER_TRAINING.of(loss, metric=PAIR_LOSS)
    metrics |= AFTER_TRAINING.of(loss_floor(held), metric=PAIR_LOSS_FLOOR)
    return metrics | LABELS_LONGER.of(longer / len(held))
