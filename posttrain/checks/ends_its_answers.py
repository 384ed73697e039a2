"""Whether a tuned model ends its answers where people end theirs."""

from __future__ import annotations

from posttrain.checks.thresholds import OfTuning
from posttrain.metrics import Metrics, read
from posttrain.pipeline.finding import Finding

ENOUGH = 30  # answers under which a mean is told and stops nothing


def check(metrics: Metrics, thresholds: OfTuning) -> Finding:
    """Reads ``ends_heldout``, the mean probability of the token that ends an answer at the end of held-out
    ones, and how many these are; passes where no held-out answer ends with such a token.

    Of fewer than ``ENOUGH`` it stops nothing: so few rows come with few to learn from, of which a model may
    not have seen ends enough, and a person who tries a recipe out is to see it to its end.
    """
    ends = read(metrics, "ends_heldout")
    count = ends.n or 0
    return Finding(
        name="sft_ends",
        value=ends.value,
        threshold=thresholds.ends,
        passed=not ends.measured or ends.number >= thresholds.ends,
        evidence=f"where {count} held-out answers end, the model gives the end {ends.number:.2g} on average"
        if ends.measured
        else "no held-out answer ends with a token that ends answers: not known",
        advice="let the end of an answer be learned (pad_token is not eos_token, the chat template ends the "
        "assistant's turn), or raise sft.epochs: every later stage would sample answers up to its limit",
        learning=True,
        stops=count >= ENOUGH,
    )
