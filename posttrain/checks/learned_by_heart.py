"""Whether instruction tuning fits what it was not shown about as well as what it was."""

from __future__ import annotations

from posttrain.checks.thresholds import OfTuning
from posttrain.metrics import Metrics, read
from posttrain.pipeline.finding import Finding


def check(metrics: Metrics, thresholds: OfTuning) -> Finding:
    """Reads ``nll_heldout`` and ``nll_train_final``, nats per token. It stops nothing: a tuned model that
    overfits may still be the better start (Ouyang et al. 2022, section 3.5, trained 16 epochs and overfitted
    after one).
    """
    held, train = read(metrics, "nll_heldout"), read(metrics, "nll_train_final")
    measured = held.measured and train.measured
    gap: float | str = held.number - train.number if measured else "unknown"
    return Finding(
        name="sft_fits",
        value=gap,
        threshold=thresholds.gap,
        passed=isinstance(gap, str) or gap <= thresholds.gap,
        evidence=f"{train.number:.3f} nats per token of what was learned last, {held.number:.3f} of held-out "
        "rows"
        if measured
        else "no demonstrations were held out, so this is not known",
        advice="fewer sft.epochs, a lower sft.learning_rate, or more demonstrations",
        learning=True,
        stops=False,
    )
