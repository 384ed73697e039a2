"""Iterated direct preference optimization (Xu et al. 2023; Yuan et al. 2024): in every round the current
policy answers, the answers are compared, and it learns from the comparisons.
"""

from __future__ import annotations

from posttrain.pipeline.stage import Stage
from posttrain.recipes.presets import Evidence
from posttrain.recipes.rounds import rounds


def iterated_dpo(
    seed: int = 0, model: str = "field_guide", count: int = 3, evidence: Evidence = "quick"
) -> Stage:
    """Base model, instruction tuning, then ``count`` rounds of pairs, labels and direct alignment.

    Parameters:
        seed: Seed of every stage.
        model: field_guide (the embedded model and world) or smollm2 (fetched once, trained with adapters).
        count: Rounds of pairs, labels and direct alignment.
        evidence: full adds as many rounds on comparisons of the first policy's answers, as many labels: what
            is left when pairs are not the current policy's own.
    """
    return rounds(seed, model, count, by="dpo", evidence=evidence)
