"""What follows an update of reinforcement: the average of the weights grows, and the step is logged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from posttrain.stages.rl_summary import of_answers

if TYPE_CHECKING:
    from posttrain.rollouts.collect import Collector
    from posttrain.storage.unfinished import Log
    from posttrain.training.average import Average

EPISODES = "episodes.jsonl"


class StepLog:
    """Of an update's metrics the line for the log. The first update of a step has the metrics of its answers,
    of which the first ``count`` are written to ``episodes``.
    """

    def __init__(self, collector: Collector, episodes: Log, count: int, average: Average | None) -> None:
        self.collector, self.episodes, self.count, self.average = collector, episodes, count, average
        self._step = 0  # of the last update in this process

    def __call__(self, metrics: dict[str, float]) -> dict[str, float]:
        if self.average is not None:
            self.average.add()
        if metrics["step"] == self._step:
            return metrics
        self._step = int(metrics["step"])
        some = self.collector.last_episodes[: self.count]
        self.episodes.write(json.dumps(episode, ensure_ascii=False) for episode in some)
        return metrics | of_answers(self.collector.last_metrics)
