"""Deliberate mistakes, each of which somebody has shipped or could; a table for each part of the package."""

from __future__ import annotations

from mutations import (
    core,
    data,
    evaluation,
    exports,
    methods,
    models,
    pipeline,
    resuming,
    safety,
    sampling,
    training,
)
from mutations.mutation import Mutation

TABLES = (core, methods, training, resuming, sampling, models, data, pipeline, evaluation, exports, safety)
MUTATIONS: list[Mutation] = [mutation for table in TABLES for mutation in table.MUTATIONS]

__all__ = ["MUTATIONS", "Mutation"]
