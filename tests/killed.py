"""A stage that is killed at each of its saves, and what it makes when it goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from posttrain.pipeline.stage import Inputs, Machine, Stage
from posttrain.storage.unfinished import Scratch


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs in the process."""


@dataclass
class Fire:
    """A stage with its inputs, and a directory in which it is made again and again."""

    stage: Stage
    inputs: Inputs
    directory: Path
    machine: Machine = field(default_factory=lambda: Machine(quiet=True, micro_batch_tokens=512))
    resumed: list[str] = field(default_factory=list)  # what the last start went on from

    def start(self, name: str, kill_at: int | None = None) -> Any:
        """Everything that it made: files byte for byte, and the report. Raises Killed after the save of that
        number, counted from 1; checkpoints and chunks are saves.
        """
        output, directory = self.directory / f"{name}-output", self.directory / name
        for path in (output, directory):
            path.mkdir(parents=True, exist_ok=True)

        saves: list[list[tuple[str, int]]] = []

        def saved() -> None:  # also called where times alone were recorded
            kept = [*directory.glob("checkpoints/step-*"), *directory.glob("*.chunks")]
            known = sorted((path.name, path.stat().st_size) for path in kept)
            if known and known not in saves:
                saves.append(known)
            if len(saves) == kill_at:
                raise Killed

        scratch = Scratch(directory, "inputs", save_steps=1, saved=saved)
        self.resumed = scratch.resumed
        report = self.stage.run(self.inputs, output, replace(self.machine, scratch=scratch))
        files = {str(p.relative_to(output)): p.read_bytes() for p in output.rglob("*") if p.is_file()}
        files.pop("times.jsonl", None)
        return files, json.dumps(report.to_json(), sort_keys=True)


def killed_at_every_save(fire: Fire, between: Callable[[], None] = lambda: None) -> int:
    """Asserts that a start that goes on makes the same as one that was never killed, whenever the first was
    killed; in how many places that was. ``between`` is called before each start that goes on.
    """
    whole, number = fire.start("whole"), 0
    while True:
        number += 1
        try:
            fire.start(f"killed-{number}", kill_at=number)
        except Killed:
            between()
            files, report = fire.start(f"killed-{number}")
            different = [name for name, data in whole[0].items() if files.get(name) != data]
            assert not different, f"killed at save {number}: {different}"
            assert files.keys() == whole[0].keys()
            assert report == whole[1], f"killed at save {number}"
            assert fire.resumed, f"killed at save {number}, and nothing was gone on from"
        else:
            return number - 1
