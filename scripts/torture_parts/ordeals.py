"""Runs that are killed again and again, and then compared with their twin."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from torture_parts.instants import AFTER, BEFORE, TORN, Instant
from torture_parts.kinds import Kind
from torture_parts.process import Ended, Options, start
from torture_parts.twins import Twin

LIVES = (1, 2, 3, 5, 8)  # kills of a run, before it is let go
ATTEMPTS = 4  # starts for each kill that is wanted: some end before their instant
Say = Callable[[str], None]


@dataclass
class Outcome:
    """What came of an ordeal of one kind: kills by position, runs that were compared, what differed, and the
    most that a kill cost, by counter.
    """

    name: str
    runs: int = 0
    kills: int = 0
    positions: Counter[str] = field(default_factory=Counter)
    where: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    lost: dict[str, float] = field(default_factory=dict)
    skipped: str = ""
    seconds: float = 0.0

    def compare(self, twin: Twin, ended: Ended, after: str) -> None:
        """Counts a run that came to its end, and what is not as it should be."""
        self.runs += 1
        if ended.code:
            self.faults.append(f"{after}: ended with {ended.code}: {ended.output[-1500:]}")
            return
        self.faults += [f"{after}: {one}" for one in twin.differences()]
        scratch = twin.bench.workspace / "scratch"
        if scratch.exists() and (left := [p.name for p in scratch.iterdir() if not p.name.startswith(".")]):
            self.faults.append(f"{after}: left in scratch: {', '.join(left)}")

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {**vars(self), "positions": dict(self.positions)}


def by_time(twin: Twin, kills: int, chance: random.Random) -> Iterator[Instant]:
    """Instants anywhere in a start."""
    while True:
        yield Instant(seconds=chance.uniform(0.01, twin.seconds))


def by_operation(twin: Twin, kills: int, chance: random.Random) -> Iterator[Instant]:
    """Writes, fsyncs, directories and renames, every sort of them before one comes again."""
    labels: list[str] = []
    while True:
        labels = labels or chance.sample(sorted(twin.operations), len(twin.operations))
        label = labels.pop()
        ways = [BEFORE, AFTER, TORN] if label.startswith("write ") else [BEFORE, AFTER]
        number = 1 + int(chance.random() ** 2 * twin.operations[label])  # the first are reached again
        yield Instant(label=label, number=number, when=chance.choice(ways))


def killed_again_and_again(
    name: str,
    kind: Kind,
    twin: Twin,
    kills: int,
    instants: Iterator[Instant],
    chance: random.Random,
    say: Say,
) -> Outcome:
    """Runs of a kind until ``kills`` starts were killed; each run ends with a start that is let go."""
    outcome, starts = Outcome(name), 0
    while outcome.kills < kills and starts < ATTEMPTS * kills:
        wanted, story, done = chance.choice(LIVES), [], Counter(dict.fromkeys(twin.work, 0))
        each_update = chance.random() < 0.6
        twin.restore()
        while True:
            let_go = len(story) >= min(wanted, kills - outcome.kills + len(story))
            ended = start(kind, twin.bench, _options(each_update, None if let_go else next(instants), chance))
            starts += 1
            done.update(ended.work)
            if not ended.killed:
                break
            outcome.kills += 1
            outcome.positions[ended.phase] += 1
            story.append(f"{ended.phase} ({ended.where})")
            say(f"killed while {story[-1]}")
        outcome.where += story
        outcome.compare(twin, ended, "; then ".join(story) or "no kill")
        if each_update:
            _count_lost(outcome, kind, twin, done, story)
    return outcome


def _options(each_update: bool, instant: Instant | None, chance: random.Random) -> Options:
    """Saved at every update, or by the clock, as often as chance will have it."""
    if each_update:
        return Options(instant=instant)
    seconds = chance.choice((0.0, 0.1, 0.3, 1.0))
    return Options(save_steps=0, save_seconds=seconds, saving_share=chance.choice((0, 1)), instant=instant)


def _count_lost(outcome: Outcome, kind: Kind, twin: Twin, done: Counter[str], story: list[str]) -> None:
    """What was done more than once, a kill; at most a batch or a chunk where every update is saved."""
    for counter, amount in done.items():
        if not story:
            continue
        lost = (amount - twin.work[counter]) / len(story)
        outcome.lost[counter] = max(lost, outcome.lost.get(counter, 0.0))
        allowed = kind.batch.get(counter)
        if allowed is not None and lost > allowed:
            outcome.faults.append(
                f"{'; then '.join(story)}: {lost:.1f} {counter} were done again a kill, allowed {allowed}"
            )
