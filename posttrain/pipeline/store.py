"""Products on disk: directories written beside their final name, hashed file by file, and renamed when
whole.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from posttrain.pipeline.finding import Finding, UserError

MADE = "made.json"
# Curves hold wall-clock rates, so they are checked for damage but never make what follows stale.
CURVES = "metrics.jsonl"
# An adapter's config names the directory of its base, which is elsewhere on another machine; what else it
# says stands in base.json beside it, which counts.
LOCATED = "adapter_config.json"
Figure = float | int | str


def _plain(value: Any) -> Any:
    """Scalars of numpy and torch as Python's own, so that made.json holds numbers and not their
    descriptions.
    """
    return value.item() if hasattr(value, "item") else value


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a stage says about its work. The first three figures are its headline on the command line."""

    figures: dict[str, Figure] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        figures = {name: _plain(value) for name, value in self.figures.items()}
        return {
            "figures": figures,
            "findings": [asdict(found) for found in self.findings],
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Report:
        findings = [Finding(**found) for found in value.get("findings", [])]
        return cls(
            figures=dict(value.get("figures", {})), findings=findings, notes=list(value.get("notes", []))
        )


@dataclass(frozen=True)
class Product:
    """A finished directory. ``made`` is its made.json; a directory that posttrain did not write has an empty
    one.
    """

    path: Path
    made: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path) -> Product:
        """Raises UserError where the directory is missing or its made.json is not JSON."""
        path = Path(path)
        if not path.is_dir():
            raise UserError(f"{path}: no such product directory")
        if not (path / MADE).exists():
            return cls(path)
        try:
            return cls(path, json.loads((path / MADE).read_text(encoding="utf-8")))
        except ValueError as error:
            raise UserError(
                f"{path / MADE}: damaged, not JSON ({error}); delete {path} to have it made again"
            ) from None

    @property
    def report(self) -> Report:
        return Report.from_json(self.made.get("report", {}))

    @property
    def figures(self) -> dict[str, Figure]:
        return self.report.figures

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
        self.root = Path(root).expanduser().resolve()
        self.products = self.root / "products"
        self.runs = self.root / "runs"
        self._memory: dict[str, list[Any]] | None = None
        self._learnt = False

    def hash_file(self, path: Path) -> str:
        """sha256 of the content, remembered by path, size, time and inode."""
        if self._memory is None:
            self._memory = read_json(self.root / "hashes.json", {})
        facts = path.stat()
        signature = [facts.st_size, facts.st_mtime_ns, facts.st_ino]
        known = self._memory.get(str(path.resolve()))
        if known and known[:3] == signature:
            return str(known[3])
        digest = hash_file(path)
        self._memory[str(path.resolve())] = [*signature, digest]
        self._learnt = True
        return digest

    def remember(self) -> None:
        if self._learnt and self.root.is_dir():
            write_json(self.root / "hashes.json", self._memory)
            self._learnt = False

    def files(self, directory: Path) -> dict[str, str]:
        """Relative path to sha256, of every file but made.json."""
        found = sorted(p for p in directory.rglob("*") if p.is_file() and p != directory / MADE)
        return {p.relative_to(directory).as_posix(): self.hash_file(p) for p in found}

    def place(self, name: str, fingerprint: str) -> Path:
        """The product's directory: the one that has this fingerprint already, whatever its name, or the one
        to make.
        """
        wanted = self.products / f"{name}-{fingerprint[:12]}"
        if not wanted.exists() and self.products.is_dir():
            same = sorted(
                p for p in self.products.glob(f"*-{fingerprint[:12]}") if not p.name.startswith(".")
            )
            return same[0] if same else wanted
        return wanted

    def damage(self, product: Product) -> str:
        """Empty when every file is the one that was written; otherwise which is not."""
        written, found = product.made.get("files", {}), self.files(product.path)
        for name in sorted(written.keys() | found.keys()):
            if name not in found:
                return f"{product.path / name} is missing"
            if name not in written:
                return f"{product.path / name} was added later"
            if written[name] != found[name]:
                hashes = f"sha256 {found[name][:12]}, was written with {written[name][:12]}"
                return f"{product.path / name} has {hashes}"
        return ""

    @contextmanager
    def making(self, final: Path) -> Iterator[Path]:
        """An empty directory beside ``final`` that only this process writes; gone afterwards unless it was
        finished.
        """
        make_directory(self.products)
        output = final.with_name(f".making-{final.name}")
        with lock(final.with_name(f".{final.name}.lock"), final.name):
            shutil.rmtree(output, ignore_errors=True)
            make_directory(output)
            try:
                yield output
            finally:
                shutil.rmtree(output, ignore_errors=True)

    def finish(self, output: Path, final: Path, made: Mapping[str, Any]) -> Product:
        """Hashes, writes made.json, flushes to the disk and renames: from here on the product exists."""
        files = self.files(output)
        record = {**made, "files": files, "content": content_of(files)}
        write_json(output / MADE, record)
        for path in sorted(output.rglob("*")):
            _flush(path)
        _flush(output)
        if final.exists():
            stale = final.with_name(f".stale-{final.name}")
            shutil.rmtree(stale, ignore_errors=True)
            final.rename(stale)
            output.rename(final)
            shutil.rmtree(stale, ignore_errors=True)
        else:
            output.rename(final)
        _flush(final.parent)
        return Product(final, record)


def content_of(files: Mapping[str, str]) -> str:
    """One hash of what a product holds; see ``CURVES`` and ``LOCATED``."""
    counted = {name: digest for name, digest in files.items() if Path(name).name not in (CURVES, LOCATED)}
    return hash_text(json.dumps(counted, sort_keys=True))


def hash_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def hash_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def make_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(
            f"{path}: a file is in the way of this directory; move it or choose another --workspace"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be created ({error.strerror}); choose another --workspace") from None


def read_json(path: Path, default: Any) -> Any:
    """The file's value, or the default where there is none or it was cut short; for what can be learnt
    again.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return default


def write_json(path: Path, value: Any) -> None:
    """Whole or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    beside.replace(path)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def lock(path: Path, what: str) -> Iterator[None]:
    """Held by one process at a time and let go when it ends, however it ends. Raises UserError naming the
    holder.
    """
    stream = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = path.exists() and path.stat().st_ino == os.fstat(stream.fileno()).st_ino
    except OSError:
        held = False
    if not held:  # also where the holder let go and removed the file between our opening and our locking it
        stream.seek(0)
        owner = stream.read().strip() or "unknown"
        stream.close()
        raise UserError(
            f"{what} is being made by process {owner}; wait until it is done, or use another --workspace"
        )
    try:
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield
    finally:
        path.unlink(missing_ok=True)
        stream.close()
