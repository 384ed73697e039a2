"""Fifty clear pairs for a person to read: python scripts/clear_pairs.py WORKSPACE OUT.md [PAIRS]

Takes the newest finished run of ``instructgpt`` in the workspace and, by lot, pairs of its
instruction-tuned policy's own held-out answers whose gold differs clearly
(``evaluation.reward_accuracy.CLEAR``), one a prompt as long as prompts last. Which answer is first is drawn
too; what gold prefers stands at the end of the page, so that a reader chooses before looking.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from posttrain.evaluation.reward_accuracy import gold_gaps
from posttrain.pipeline.runner import latest_run
from posttrain.pipeline.store import Workspace
from posttrain.report.record import RunRecord
from posttrain.storage.jsonl import read_jsonl

PAIRS = 50
HEAD = """# {count} clear pairs

Read each question and both answers, and write down which answer you would rather get; then compare with what
gold prefers, at the end of this page. The answers are the instruction-tuned policy's own ({model}, seed
{seed}, temperature {temperature}), to held-out prompts; the pairs are drawn by lot among those whose gold
differs by {clear} points or more of 100, half a standard deviation of gold. Nobody chose or edited them:
`python scripts/clear_pairs.py WORKSPACE docs/clear_pairs.md` makes this page.

Where a reader and gold disagree on more than 7 of 50, the gold is wrong and is to be mended.
"""


def sample_pairs(
    pairs: Sequence[Mapping[str, Any]], count: int, seed: int
) -> tuple[list[tuple[Mapping[str, Any], bool, float]], float]:
    """Pairs, whether b is shown first, and the gold of the first less that of the second; what makes a gap
    clear.
    """
    gaps, clear = gold_gaps(pairs)
    rng = random.Random(f"clear pairs:{seed}")
    candidates = [
        (pair, gap) for pair, gap in zip(pairs, gaps, strict=True) if gap is not None and abs(gap) >= clear
    ]
    rng.shuffle(candidates)
    first: dict[str, tuple[Mapping[str, Any], float]] = {}
    for pair, gap in candidates:
        first.setdefault(str(pair["prompt"]), (pair, gap))
    others = [one for one in candidates if one not in first.values()]
    taken = [*first.values(), *others][:count]
    turned = [(pair, rng.random() < 0.5, gap) for pair, gap in taken]
    return [(pair, turn, -gap if turn else gap) for pair, turn, gap in turned], clear


def page(pairs: Sequence[Mapping[str, Any]], count: int, facts: Mapping[str, Any]) -> str:
    """The page as Markdown."""
    taken, clear = sample_pairs(pairs, count, int(facts["seed"]))
    parts = [HEAD.format(count=len(taken), clear=round(100 * clear), **facts)]
    for number, (pair, turn, _) in enumerate(taken, start=1):
        one, two = ("b", "a") if turn else ("a", "b")
        parts.append(f"**{number}.** {pair['prompt'][-1]['content']}\n")
        parts += [f"{name}:\n\n{_quoted(str(pair[side]))}\n" for name, side in (("A", one), ("B", two))]
    answers = [
        f"{n} {'A' if gap > 0 else 'B'} ({100 * abs(gap):.0f})" for n, (*_, gap) in enumerate(taken, start=1)
    ]
    parts.append("## What gold prefers, and by how many points\n\n" + " · ".join(answers) + "\n")
    return "\n".join(parts)


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}  " if line.strip() else ">" for line in text.strip().splitlines())


def main(arguments: list[str]) -> int:
    """Exit code 0, or 2 without a run to take pairs from."""
    if len(arguments) not in (2, 3):
        print(__doc__)
        return 2
    root, out = Path(arguments[0]).resolve(), Path(arguments[1])
    directory = latest_run(Workspace(root))
    if directory is None:
        print(f"{root}: no finished run", file=sys.stderr)
        return 2
    run = RunRecord.load(directory, root)
    stage = next((s for s in run.stages if s.kind.endswith("ComparisonPairs")), None)
    if stage is None:
        print(f"{directory}: made no pairs of a policy's answers", file=sys.stderr)
        return 2
    settings = stage.made["settings"]
    facts = {
        "model": run.stages[0].kind.rpartition(".")[2],
        **{k: settings[k] for k in ("seed", "temperature")},
    }
    count = int(arguments[2]) if len(arguments) == 3 else PAIRS
    out.write_text(page(read_jsonl(stage.path / "heldout.jsonl"), count, facts), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
