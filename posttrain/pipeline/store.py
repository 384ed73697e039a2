"""Products on disk: directories written beside their final name, hashed file by file, and renamed when
whole.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posttrain.metrics import Metrics, Value
from posttrain.pipeline.files import (
    abandoned,
    expanded,
    hash_text,
    leftovers,
    load_json,
    lock,
    make_directory,
    read_json,
    write_json,
)
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.secrets import Redaction
from posttrain.pipeline.shape import PRODUCT, misshapen
from posttrain.pipeline.stage_report import Report
from posttrain.storage.durable import flush, hash_file

MADE = "made.json"
SEAL = "record_sha256"  # of made.json without this key
SEALED = 2  # made.json of this format and later has one
FORMAT = 3  # metrics are typed
EXPECTED = "expected a model's or product's directory"
MOST_FILES = 10_000  # of a product
MAKING, STALE = ".making-", ".stale-"  # how directories beside products begin: half-written, to be deleted
NAME = re.compile(r"[A-Za-z0-9_][\w-]{0,63}")
# Nothing that later stages read stands in the logs of a loop, and one of them holds times: they make nothing
# stale and are no damage.
LOGS = ("metrics.jsonl", "times.jsonl")
# An adapter's config names the directory of its base, which is elsewhere on another machine; what else it
# says stands in base.json beside it, which counts.
LOCATED = "adapter_config.json"
UNCOUNTED = (*LOGS, LOCATED)


@dataclass(frozen=True)
class Product:
    """A finished directory. ``made`` is its made.json; a directory that posttrain did not write has an empty
    one.
    """

    path: Path
    made: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path) -> Product:
        """Raises UserError where the directory is missing or its made.json is not as it was written."""
        path = Path(path)
        if not path.is_dir():
            raise UserError(f"{path}: no such product directory")
        if not (path / MADE).exists():
            return cls(path)
        try:
            made = load_json(path / MADE)
            problem = misshapen(made, PRODUCT) or _unsealed(made)
        except (ValueError, OSError) as error:
            problem = f"not JSON ({error})"
        if problem:
            raise UserError(f"{path / MADE}: damaged or changed since it was written: {problem}")
        return cls(path, made)

    @property
    def report(self) -> Report:
        return Report.from_json(self.made.get("report", {}))

    @property
    def metrics(self) -> Metrics:
        return self.report.metrics

    @property
    def values(self) -> dict[str, Value]:
        """The value of each metric, by its name."""
        return self.report.values

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.made.get("settings", {}))

    @property
    def content(self) -> str:
        """The hash of all its files, as made.json states it; empty for a directory posttrain did not
        write.
        """
        return str(self.made.get("content", ""))


class Workspace:
    """Where products, runs and what was learnt about files live. Nothing is written before something is
    made.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = expanded(root).resolve()
        self.products = self.root / "products"
        self.runs = self.root / "runs"
        self.aside = self.root / "aside"
        self.scratch = self.root / "scratch"  # unfinished work, a directory a product
        self._memory: dict[str, Any] | None = None
        self._learnt = False

    def hash_file(self, path: Path) -> str:
        """sha256 of the content, remembered by path, size, time and inode."""
        if self._memory is None:
            self._memory = read_json(self.root / "hashes.json", {})
        facts = path.stat()
        signature = [facts.st_size, facts.st_mtime_ns, facts.st_ino]
        entry = self._memory.get(str(path.resolve()))
        if isinstance(entry, list) and len(entry) == 4 and entry[:3] == signature:
            return str(entry[3])
        digest = hash_file(path)
        self._memory[str(path.resolve())] = [*signature, digest]
        self._learnt = True
        return digest

    def remember(self) -> None:
        if self._learnt and self.root.is_dir():
            write_json(self.root / "hashes.json", self._memory)
            self._learnt = False

    def files(self, directory: Path) -> dict[str, str]:
        """Relative path to sha256, of every file but made.json. Raises UserError where there are more than
        ``MOST_FILES``, before any is read, and where one may not be looked at.
        """
        paths = []
        try:
            for path in directory.rglob("*"):
                if path != directory / MADE and path.is_file():
                    paths.append(path)
                if len(paths) > MOST_FILES:
                    raise UserError(f"{directory}: more than {MOST_FILES:,} files; {EXPECTED}")
        except OSError as error:  # of a directory in it that may not be looked into
            reason = f"{error.filename}: {error.strerror}"
            raise UserError(f"{directory}: cannot be read ({reason}); {EXPECTED}") from None
        return {p.relative_to(directory).as_posix(): self.hash_file(p) for p in sorted(paths)}

    def place(self, name: str, fingerprint: str) -> Path:
        """The product's directory: the one that has this fingerprint already, whatever its name, or the one
        to make. Raises UserError for a name that cannot be part of a file's.
        """
        if not NAME.fullmatch(name):
            raise UserError(
                f"a stage is called {name!r}; expected letters, digits, _ and -, at most 64: products are "
                "directories of that name"
            )
        wanted = self.products / f"{name}-{fingerprint[:12]}"
        if not wanted.exists() and self.products.is_dir():
            same = sorted(
                p for p in self.products.glob(f"*-{fingerprint[:12]}") if not p.name.startswith(".")
            )
            return same[0] if same else wanted
        return wanted

    def damage(self, product: Product) -> list[str]:
        """What became of the files that were written: those that are missing or changed. ``UNCOUNTED`` ones
        and files that were added do not count.
        """
        problems = []
        for name, written in sorted(product.made.get("files", {}).items()):
            path = product.path / name
            if Path(name).name in UNCOUNTED:
                continue
            if Path(name).is_absolute() or ".." in Path(name).parts:
                problems.append(f"{product.path / MADE} names {name}, which is no file of the product")
                continue
            if not path.is_file():
                problems.append(f"{path} is missing")
            elif (digest := self.hash_file(path)) != written:
                problems.append(f"{path} has sha256 {digest[:12]}, was written with {written[:12]}")
        return problems

    @contextmanager
    def making(self, final: Path) -> Iterator[Path]:
        """An empty directory beside ``final`` that only this process writes; gone afterwards unless it was
        finished.
        """
        make_directory(self.products)
        output = final.with_name(f"{MAKING}{final.name}")
        with lock(final.with_name(f".{final.name}.lock"), final.name):
            shutil.rmtree(output, ignore_errors=True)
            make_directory(output)
            try:
                yield output
            finally:
                shutil.rmtree(output, ignore_errors=True)

    def in_use(self, name: str) -> bool:
        """Whether a process is making the product of this name."""
        if not self.products.is_dir():
            return False
        try:
            with lock(self.products / f".{name}.lock", name):
                return False
        except UserError:
            return True

    def finish(self, output: Path, final: Path, made: Mapping[str, Any]) -> Product:
        """Hashes, writes made.json, flushes to the disk and renames: from here on the product exists. What
        stood in its place is kept under ``aside``.
        """
        files = self.files(output)
        plain = Redaction(made.get("settings")).value(dict(made))
        record = sealed({**plain, "files": files, "content": content_of(files)})
        write_json(output / MADE, record)
        for path in sorted(output.rglob("*")):
            flush(path)
        flush(output)
        if final.exists():
            self.set_aside(final)
        output.rename(final)
        flush(final.parent)
        return Product(final, record)

    def set_aside(self, product: Path) -> Path:
        """Moves a product's directory to where nothing looks for it, and says where that is."""
        make_directory(self.aside)
        number = 1
        while (target := self.aside / f"{product.name}.{number}").exists():
            number += 1
        product.rename(target)
        return target

    def sweep(self) -> None:
        """Removes what killed processes left half-written, and what earlier versions left half-deleted."""
        for directory in (self.root, *self.runs.glob("*")):
            for path in leftovers(directory):
                path.unlink(missing_ok=True)
        for path in self.products.glob(f"{MAKING}*"):
            name = path.name.removeprefix(MAKING)
            if not abandoned(path):  # locks of some network file systems hold on one machine only
                continue
            with suppress(UserError, OSError), lock(self.products / f".{name}.lock", name):
                # its maker is gone: it would hold the lock; and ours is held for a rename alone
                path.rename(path.with_name(f"{STALE}{name}.{os.getpid()}"))
        for path in self.products.glob(f"{STALE}*"):
            shutil.rmtree(path, ignore_errors=True)


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record as made.json holds it, with its own hash."""
    plain = json.loads(json.dumps({key: value for key, value in record.items() if key != SEAL}))
    return {**plain, SEAL: hash_text(json.dumps(plain, sort_keys=True))}


def _unsealed(made: Mapping[str, Any]) -> str:
    """Empty where made.json is as it was written, as far as it can tell."""
    if made.get("format", 1) not in range(1, FORMAT + 1):
        return f"format {made['format']}, expected {FORMAT}; another version of posttrain wrote it"
    if SEAL not in made:
        return f"no {SEAL}" if made.get("format", 1) >= SEALED else ""
    return "" if sealed(made)[SEAL] == made[SEAL] else f"its {SEAL} is another"


def content_of(files: Mapping[str, str]) -> str:
    """One hash of what a product holds; without ``UNCOUNTED``."""
    counted = {name: digest for name, digest in files.items() if Path(name).name not in UNCOUNTED}
    return hash_text(json.dumps(counted, sort_keys=True))
