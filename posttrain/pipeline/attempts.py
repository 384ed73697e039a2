"""The attempts that a product takes: a killed one leaves a scratch directory, from which the next goes on."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from posttrain.pipeline.circumstances import now, peak, versions
from posttrain.pipeline.files import check_regular, hash_text, make_directory, read_json, write_json
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.machine import Machine
from posttrain.pipeline.progress import first_names
from posttrain.pipeline.store import MADE
from posttrain.storage.durable import flush, hash_file
from posttrain.storage.unfinished import Scratch

ATTEMPTS = "attempts.json"
SPENT = ("seconds", "processor_seconds")


class Attempts:
    """What each attempt at a product took and went on from; the last one is this."""

    def __init__(
        self,
        directory: Path,
        made: Mapping[str, Any],
        machine: Machine,
        say: Callable[[str], None],
        replaced: Path | None = None,
    ) -> None:
        """Opens the scratch ``directory``, and tells what is different from the attempt before.

        Args:
            made: what made.json will say of the product: fingerprint, inputs and code.
            replaced: the product that the user wants made again. Only what earlier attempts did to replace
                this very product is gone on from.
        """
        standing = _standing(replaced)
        first = next(iter(read_attempts(directory)), {})
        if replaced is not None and first.get("replaces", "") != standing:
            remove_scratch(directory)
        make_directory(directory)
        self.directory, self._file = directory, directory / ATTEMPTS
        self.earlier = read_attempts(directory)
        self._clock, self._processor = time.monotonic(), time.process_time()
        self.this: dict[str, Any] = {"started": now(), "computing": _computing(machine), "code": made["code"]}
        self.this |= {"replaces": standing} if standing else {}
        contents = sorted((one["field"], one["content"]) for one in made["inputs"])
        self.scratch = Scratch(
            directory,
            hash_text(repr([made["fingerprint"], *contents])),
            save_seconds=machine.save_seconds,
            save_steps=machine.save_steps,
            keep_last=machine.keep_last,
            say=say,
            saved=self.record,
        )
        if self.earlier:
            self.this["changed"] = self._changes(self.earlier[-1])
            for change in self.this["changed"]:
                say(f"since the last attempt: {change}")
        self.record()

    def record(self) -> None:
        """Writes what was spent so far. A full disk loses times, not work."""
        self.this |= {
            "seconds": round(time.monotonic() - self._clock, 3),
            "processor_seconds": round(time.process_time() - self._processor, 3),
            "peak_bytes": peak(),
            "resumed": list(self.scratch.resumed),
        }
        try:
            write_json(self._file, [*self.earlier, self.this])
        except OSError:
            return

    def spent(self) -> dict[str, Any]:
        """What made.json says of all attempts together: when the first began, the sums of their times, the
        highest peak of memory; and, where there were several, each of them.
        """
        self.record()
        attempts = [*self.earlier, self.this]
        spent: dict[str, Any] = {
            name: round(sum(_number(one, name) for one in attempts), 3) for name in SPENT
        }
        spent |= {"started": str(attempts[0].get("started", "")), "finished": now()}
        spent["peak_bytes"] = int(max(_number(one, "peak_bytes") for one in attempts))
        if self.earlier:
            names = ("started", "seconds", "resumed", "changed")
            spent["attempts"] = [{name: one[name] for name in names if name in one} for one in attempts]
        return spent

    def remove(self) -> None:
        """The product is finished."""
        remove_scratch(self.directory)

    def __enter__(self) -> Attempts:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Where the attempt failed or was stopped: what can be gone on from stays, with the time it took."""
        if kind is None:
            return
        chunks = any(file.stat().st_size for file in self.directory.glob("*.chunks"))
        if chunks or any(self.directory.glob("checkpoints/step-*")):
            self.record()
        else:
            self.remove()

    def _changes(self, last: Mapping[str, Any]) -> list[str]:
        changes = []
        for name, value in self.this["computing"].items():
            before = _mapping(last, "computing").get(name)
            if before != value:
                changes.append(f"{name} {before} became {value}; the same bits are not promised")
        before, now_is = _mapping(last, "code"), self.this["code"]
        if other := sorted(name for name in before.keys() | now_is if before.get(name) != now_is.get(name)):
            changes.append(f"the code of {first_names(other)} changed; `posttrain clean` begins anew")
        return changes


def remove_scratch(directory: Path) -> None:
    """Removes a stage's unfinished work; first out of sight, so that half of it is never gone on from."""
    if directory.exists():
        gone = directory.with_name(f".gone-{directory.name}.{os.getpid()}")
        directory.rename(gone)
        flush(directory.parent)
        shutil.rmtree(gone, ignore_errors=True)
        with suppress(OSError):  # others are in it
            directory.parent.rmdir()


def _standing(product: Path | None) -> str:
    """The hash of a product's record; empty where there is none that could be read."""
    if product is None:
        return ""
    try:
        check_regular(product / MADE)  # a pipe could be read for ever
        return hash_file(product / MADE)
    except (OSError, UserError):
        return ""


def read_attempts(directory: Path) -> list[dict[str, Any]]:
    """What is recorded of the attempts that a scratch directory is of; none where the record is damaged."""
    return [dict(one) for one in read_json(directory / ATTEMPTS, []) if isinstance(one, dict)]


def _computing(machine: Machine) -> dict[str, Any]:
    """What the bits of a result may depend on beside settings and inputs."""
    version_of = versions()
    return {
        "threads": machine.threads or int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1),
        "device": machine.device,
        "micro_batch_tokens": machine.micro_batch_tokens,
        "kernels": version_of["kernels"],
        "torch": version_of.get("torch", ""),
    }


def _mapping(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = record.get(name)
    return value if isinstance(value, dict) else {}


def _number(record: Mapping[str, Any], name: str) -> float:
    value = record.get(name, 0.0)
    return float(value) if isinstance(value, int | float) else 0.0
