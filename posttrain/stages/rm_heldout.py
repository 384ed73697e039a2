"""What a reward model is worth on held-out comparisons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from posttrain.pipeline.stage import Machine

if TYPE_CHECKING:
    from posttrain.models.language_policy import LanguageReward
    from posttrain.storage.preference_store import PreferenceStore


def loss_floor(comparisons: PreferenceStore) -> float:
    """The least mean loss that labels as sure as these allow, in nats a pair."""
    import torch

    from posttrain.core.preferences import floor

    return float(floor(torch.tensor([pair.confidence for pair in comparisons], dtype=torch.float64)).mean())


def heldout_figures(
    reward: LanguageReward, held: PreferenceStore, pad_id: int, machine: Machine
) -> dict[str, float | int | str]:
    """How often the chosen answer scores higher on held-out comparisons, how sure the model is of it, and how
    often the chosen answer, and the one that scores higher, are the longer ones.
    """
    from posttrain.evaluation.confidence_and_length import confidence_and_length
    from posttrain.evaluation.intervals import wilson, with_interval
    from posttrain.rollouts.encode import scores

    if not held:
        return {"label_accuracy": "unknown"}
    import torch

    from posttrain.core.preferences import logistic

    said = scores(reward, held.rows, pad_id, machine.micro_batch_tokens)
    right = int((said[::2] > said[1::2]).sum())
    confidence = torch.tensor([pair.confidence for pair in held])
    more = [sum(pair.rows[0].mask) - sum(pair.rows[1].mask) for pair in held]
    longer = sum((tokens > 0) + (tokens == 0) / 2 for tokens in more)
    figures = with_interval("label_accuracy", wilson(right, len(held)))
    losses = {
        "pair_loss_heldout": float(logistic(said[::2] - said[1::2], confidence).mean()),
        "pair_loss_floor_heldout": loss_floor(held),
    }
    figures |= confidence_and_length(said[::2] - said[1::2], more)
    return figures | losses | {"label_control/longer": longer / len(held)}
