"""What a field of a stage may say of itself, and types that many stages have in a field."""

from __future__ import annotations

from dataclasses import field
from typing import Any, Literal

Compute = Literal["float32", "bfloat16"]
HeldIn = Literal["float32", "bfloat16", "int8", "nf4"]  # the matrices of a trunk that does not learn
LABELS = ("name", "follows")  # fields of every stage that say nothing of its work
# What a stage may need of the family of the model that it grows from.
SAMPLES = "samples"  # answers are sampled from it in batches
SCALAR = "scalar"  # a head of one label is put on it
# Roles of a stage: a policy learns from a reward, or from comparisons.
REINFORCEMENT, ALIGNMENT = "reinforcement", "alignment"


def later(default: Any) -> Any:
    """A field that was added after products were made without it. At its default it is left out of the
    fingerprint, so those products stay current.
    """
    return field(default=default, metadata={"later": True})


def judging(default: Any) -> Any:
    """A field that only a stage's gates read: it counts in no fingerprint, so what is made is judged by
    another threshold and not made again.
    """
    return field(default=default, metadata={"judging": True})
