"""What an evaluation says of its inputs: prompts that are trained on too, and more demonstrations."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from posttrain.data.rows import JsonRow
from posttrain.metrics import Metric, Value, declare_metric

ALSO_TRAINED_ON = declare_metric(
    "prompts_also_trained_on",
    "Held-out prompts that are among the training prompts too.",
    unit="prompts",
    better="down",
)
NLL_RATIO_4X = declare_metric(
    "nll_ratio_4x",
    "Held-out loss of the tuned model over that of a model tuned on four times the demonstrations; far "
    "above 1, more demonstrations would help.",
    unit="ratio",
    better="down",
    title="held-out loss relative to that with four times the demonstrations",
)
NLL_HELDOUT_OF = declare_metric(
    "nll_heldout/{model}",
    "Negative log-likelihood of held-out demonstrations under {model}.",
    unit="nats per token",
    better="down",
    title="held-out loss: {model}",
)


def also_trained_on(prompts: Path, asked: Sequence[JsonRow]) -> list[str]:
    """Ids of held-out prompts that are among the training prompts, whatever their own ids."""
    from posttrain.storage.jsonl import read_jsonl

    trained = {json.dumps(row["prompt"], sort_keys=True) for row in read_jsonl(prompts / "train.jsonl")}
    return [str(row["id"]) for row in asked if json.dumps(row["prompt"], sort_keys=True) in trained]


def of_more_demonstrations(tuned: Mapping[str, Value], more: Mapping[str, Value]) -> dict[str, Metric]:
    """From the metrics of both trainings; "unknown" where either has no held-out rows."""
    from posttrain.rollouts.batched_eval import NLL_HELDOUT

    usual, fourfold = (metrics.get(NLL_HELDOUT.name, "unknown") for metrics in (tuned, more))
    if isinstance(usual, str) or isinstance(fourfold, str):
        return NLL_RATIO_4X.of("unknown")
    held = NLL_HELDOUT_OF.of(usual, model="sft") | NLL_HELDOUT_OF.of(fourfold, model="sft_4x")
    return NLL_RATIO_4X.of(usual / fourfold) | held
