"""Where a loop stood, on disk: written whole or not at all, and checked when it is read.

A checkpoint is a directory ``step-00000012`` with its files and ``manifest.json``, the sha256 of each. It is
written beside its name and renamed when whole; one with a file that is missing or not what the manifest says
is passed over for the one before it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from posttrain.core.batch import Evaluation, Experience, PreferenceBatch, Rollouts
from posttrain.storage.durable import flush, hash_file
from posttrain.training.fit import FitState
from posttrain.training.rl_loop import RLState

MANIFEST = "manifest.json"
RECORDS: list[Any] = [Rollouts, Evaluation, Experience, PreferenceBatch, RLState, FitState]


def save(directory: Path, step: int, contents: Mapping[str, Any], keep: int = 2) -> Path:
    """Write one checkpoint; delete all but the newest ``keep`` and what killed writes left. One process.

    Args:
        contents: a file each: state dicts of weights and optimizer, the loop's state; tensors, the records of
            ``core.batch``, and plain Python values.

    Returns:
        Its directory.
    """
    directory.mkdir(parents=True, exist_ok=True)
    final = directory / f"step-{step:08d}"
    draft = directory / f".{final.name}.{os.getpid()}"
    for left in directory.glob(".step-*"):
        shutil.rmtree(left)
    draft.mkdir()
    manifest = {}
    for name, value in contents.items():
        path = draft / f"{name}.pt"
        torch.save(value, path)
        manifest[path.name] = hash_file(path)
        flush(path)
    (draft / MANIFEST).write_text(json.dumps({"step": step, "files": manifest}, indent=1) + "\n")
    flush(draft / MANIFEST)
    flush(draft)
    shutil.rmtree(final, ignore_errors=True)
    draft.rename(final)
    flush(directory)
    for old in _newest_first(directory)[keep:]:
        shutil.rmtree(old)
    return final


def load(directory: Path, device: str = "cpu") -> dict[str, Any] | None:
    """The contents of the newest whole checkpoint, its tensors on ``device``; None where there is none."""
    for path in _newest_first(directory):
        files = _whole(path)
        if files is not None:
            with torch.serialization.safe_globals(RECORDS):
                return {f.stem: torch.load(f, map_location=device, weights_only=True) for f in files}
    return None


def _newest_first(directory: Path) -> list[Path]:
    return sorted(directory.glob("step-*"), reverse=True)


def _whole(path: Path) -> list[Path] | None:
    """The files of a checkpoint if all are as they were written."""
    try:
        manifest = json.loads((path / MANIFEST).read_text())["files"]
        if all(hash_file(path / name) == digest for name, digest in manifest.items()):
            return [path / name for name in manifest]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # damaged: the one before it serves
    return None
