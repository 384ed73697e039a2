"""Whether a reward can score answers to the prompts that it is given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from posttrain.pipeline.finding import Finding

if TYPE_CHECKING:
    from posttrain.rewards.base import RewardSource


def check(reward: RewardSource, prompts: Path) -> list[Finding]:
    """Looks at every row of ``prompts``, JSON lines; passes where the reward can score one of them."""
    from posttrain.rewards.base import lacking
    from posttrain.storage.jsonl import stream_jsonl

    rows, fitting, first = 0, 0, None
    for row in stream_jsonl(prompts):
        missing = lacking(reward, row)
        rows, fitting = rows + 1, fitting + (not missing)
        if missing and first is None:
            first = row, missing
    if first is None:
        return []
    row, missing = first
    return [
        Finding(
            name="reward_fits_prompts",
            value=float(fitting),
            threshold=1.0,
            passed=fitting > 0,
            evidence=f"{type(reward).__name__} can score {fitting} of {rows} prompts; "
            f"{row.get('id', 'the first other one')} lacks {missing}, it has {', '.join(sorted(row))}",
            advice="give prompts whose rows have it, or another reward (docs/rewards.md)",
        )
    ]
