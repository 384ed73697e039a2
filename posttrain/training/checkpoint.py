"""Where a loop stood, on disk: written whole or not at all, and checked when it is read.

A checkpoint is a directory ``step-00000012``: of each part ``NAME.json`` and, where it has tensors,
``NAME.safetensors``; and ``manifest.json`` with the sha256 of each file, of the logs as long as they were,
and of itself. It is written beside its name and renamed when whole. Nothing in it is pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from posttrain.core.batch import Evaluation, Experience, PreferenceBatch, Rollouts
from posttrain.storage.durable import flush, hash_file
from posttrain.storage.unfinished import Log, Scratch

MANIFEST, FORMAT = "manifest.json", 1
DIRECTORY = "checkpoints"
NAMED = re.compile(r"step-\d{8}")
RECORDS: dict[str, Any] = {one.__name__: one for one in (Rollouts, Evaluation, Experience, PreferenceBatch)}
TENSOR, RECORD, ITEMS = "$tensor", "$record", "$items"


@dataclass(frozen=True)
class Checkpoint:
    """What one held: ``contents`` by part, ``sizes`` of the logs in bytes, and the number of updates made."""

    updates: int
    ended: bool  # no update follows
    contents: dict[str, Any]
    sizes: dict[str, int]


def save(
    scratch: Scratch, updates: int, contents: Mapping[str, Any], logs: Iterable[Log], ended: bool = False
) -> Path:
    """Writes one checkpoint and deletes all but the newest ``scratch.keep_last``.

    Args:
        contents: a part each: tensors, the records of ``core.batch``, plain Python values; lists and
            dictionaries of them.

    Returns:
        Its directory.

    Raises:
        OSError: it could not be written; nothing of it is left, and those before it stay.
    """
    directory = scratch.directory / DIRECTORY
    directory.mkdir(exist_ok=True)
    final = directory / _name(updates)
    draft = directory / f".{final.name}.{os.getpid()}"
    for left in directory.glob(".step-*"):
        shutil.rmtree(left)
    try:
        _write(draft, scratch, {"updates": updates, "ended": ended}, contents, list(logs))
    except SafetensorError as error:  # of a full disk as well
        shutil.rmtree(draft, ignore_errors=True)
        raise OSError(None, str(error), str(draft)) from error
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    if final.exists():
        shutil.rmtree(final)
    draft.rename(final)
    flush(directory)
    for old in _newest_first(directory)[max(scratch.keep_last, 1) :]:
        shutil.rmtree(old)
    return final


def load(scratch: Scratch, logs: Iterable[Log]) -> Checkpoint | None:
    """The newest whole checkpoint; None where there is none. Damaged ones and those of other inputs are set
    aside, and the user is told.
    """
    paths = {log.path.name: log.path for log in logs}
    for path in _newest_first(scratch.directory / DIRECTORY):
        try:
            manifest = _checked(path, paths, scratch.identity)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            scratch.set_aside(path, str(error) if type(error) is ValueError else "it is damaged")
            continue
        contents = {name: _read(path, name) for name in manifest["parts"]}
        sizes = {name: size for name, (size, _) in manifest["logs"].items()}
        return Checkpoint(manifest["updates"], manifest["ended"], contents, sizes)
    return None


def _write(
    draft: Path, scratch: Scratch, facts: dict[str, Any], contents: Mapping[str, Any], logs: list[Log]
) -> None:
    draft.mkdir()
    for log in logs:
        log.flush()
    for name, value in contents.items():
        tensors: dict[str, Tensor] = {}
        (draft / f"{name}.json").write_text(json.dumps(_plain(value, tensors, set())))
        if tensors:
            save_file(tensors, draft / f"{name}.safetensors")
    files = {}
    for path in sorted(draft.iterdir()):
        flush(path)
        files[path.name] = hash_file(path)
    manifest = {
        **facts,
        "format": FORMAT,
        "identity": scratch.identity,
        "parts": list(contents),
        "files": files,
        "logs": {log.path.name: [log.size, _digest(log.path, log.size)] for log in logs},
    }
    (draft / MANIFEST).write_text(json.dumps({**manifest, "sha256": _seal(manifest)}, indent=1) + "\n")
    flush(draft / MANIFEST)
    flush(draft)


def _checked(path: Path, logs: Mapping[str, Path], identity: str) -> dict[str, Any]:
    """The manifest. Raises ValueError with the reason, or another error, where it cannot be used."""
    manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text())
    if manifest.pop("sha256") != _seal(manifest) or manifest["format"] != FORMAT:
        raise KeyError("sha256")
    if path.name != _name(manifest["updates"]):
        raise KeyError("updates")
    if manifest["identity"] != identity:
        raise ValueError("it is of other inputs")
    if {file.name for file in path.iterdir()} != {*manifest["files"], MANIFEST}:
        raise KeyError("files")
    if not all((path / name).is_file() for name in manifest["files"]):  # a pipe could be read for ever
        raise KeyError("files")
    if any(hash_file(path / name) != digest for name, digest in manifest["files"].items()):
        raise KeyError("files")
    for name, (size, digest) in manifest["logs"].items():
        if _digest(logs[name], size) != digest:
            raise ValueError(f"{name} is not as it was when this was saved")
    return manifest


def _name(updates: int) -> str:
    return f"step-{updates:08d}"


def _seal(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _newest_first(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return []
    return sorted((path for path in directory.iterdir() if NAMED.fullmatch(path.name)), reverse=True)


def _plain(value: Any, tensors: dict[str, Tensor], addresses: set[int]) -> Any:
    """The value as JSON, its tensors put among ``tensors``."""
    if isinstance(value, Tensor):
        tensor = value.detach().cpu().contiguous()
        if tensor.untyped_storage().nbytes() != tensor.nbytes or tensor.data_ptr() in addresses:
            tensor = tensor.clone()  # safetensors refuses tensors that share memory
        addresses.add(tensor.data_ptr())
        name = str(len(tensors))
        tensors[name] = tensor
        return {TENSOR: name}
    if is_dataclass(value) and RECORDS.get(type(value).__name__) is type(value):
        inner = {f.name: getattr(value, f.name) for f in fields(value)}
        return {RECORD: type(value).__name__, ITEMS: _plain(inner, tensors, addresses)}
    if isinstance(value, Mapping):  # keys need not be text: Adam's are numbers
        return {ITEMS: [[key, _plain(item, tensors, addresses)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_plain(item, tensors, addresses) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a checkpoint cannot hold {type(value).__name__}")


def _read(path: Path, name: str) -> Any:
    file = path / f"{name}.safetensors"
    tensors = load_file(file) if file.exists() else {}

    def value_of(plain: Any) -> Any:
        if isinstance(plain, list):
            return [value_of(item) for item in plain]
        if not isinstance(plain, dict):
            return plain
        if TENSOR in plain:
            return tensors[plain[TENSOR]].clone()  # aligned, and no page of a file that may be deleted
        if RECORD in plain:
            return RECORDS[plain[RECORD]](**value_of(plain[ITEMS]))
        return {key: value_of(item) for key, item in plain[ITEMS]}

    return value_of(json.loads((path / f"{name}.json").read_text()))


def _digest(path: Path, size: int) -> str:
    """sha256 of the first ``size`` bytes. Raises ValueError where there are fewer."""
    digest, left = hashlib.sha256(), size
    with path.open("rb") as file:
        while left:
            block = file.read(min(left, 1 << 20))
            if not block:
                raise ValueError(f"{path.name} is shorter than it was when this was saved")
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()
