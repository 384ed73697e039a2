"""Whether a reward can score answers to the prompts that it is given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from posttrain.pipeline.finding import Finding

if TYPE_CHECKING:
    from posttrain.rewards.protocol import RewardSource


def check(reward: RewardSource, prompts: Path) -> list[Finding]:
    """Looks at every row of ``prompts``, JSON lines; passes where the reward can score one of them."""
    from posttrain.data.jsonl import read_jsonl
    from posttrain.rewards.protocol import lacking

    rows = read_jsonl(prompts)
    found = [(row, missing) for row in rows if (missing := lacking(reward, row))]
    if not found:
        return []
    row, missing = found[0]
    return [
        Finding(
            name="reward_fits_prompts",
            value=float(len(rows) - len(found)),
            threshold=1.0,
            passed=len(found) < len(rows),
            evidence=f"{type(reward).__name__} can score {len(rows) - len(found)} of {len(rows)} prompts; "
            f"{row.get('id', 'the first other one')} lacks {missing}, it has {', '.join(sorted(row))}",
            advice="give prompts whose rows have it, or another reward (docs/rewards.md)",
        )
    ]
