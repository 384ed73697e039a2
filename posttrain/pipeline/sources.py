"""Things from outside: a file or directory is known by its content, a hub name by its commit."""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from posttrain.pipeline.files import hash_text, make_directory, read_json, write_json
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.store import MADE, Product, Workspace

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+|[A-Za-z0-9][\w-]*")


@dataclass(frozen=True)
class SourceFile:
    """A file, a directory or a hub name (``owner/name``) that a stage reads; ``kind`` is ``models`` or
    ``datasets``.
    """

    path: str
    kind: str = "models"

    @property
    def local(self) -> Path | None:
        """The file or directory, or None where this is a name on the hub."""
        found = Path(self.path).expanduser()
        return found if found.exists() else None

    def identity(self, workspace: Workspace) -> str:
        """What counts in a fingerprint. Raises UserError where there is neither a file nor such a name on the
        hub.
        """
        found = self.local
        if found is None:
            return f"hub:{self.path}@{self.commit(workspace.root)}"
        if found.is_dir():
            return f"directory:{hash_text(json.dumps(workspace.files(found), sort_keys=True))}"
        return f"file:{workspace.hash_file(found)}"

    def revision(self, workspace: Path | None) -> str | None:
        """What to ask the hub for, so that what is read is what was fingerprinted; None for a file."""
        return self.commit(workspace or Path(".")) if self.local is None else None

    def commit(self, workspace: Path) -> str:
        """The commit of a hub name, pinned in the workspace the first time it is asked for.

        A data set's split, ``owner/name:split``, is no part of the name.
        """
        name = self.path.partition(":")[0] if self.kind == "datasets" else self.path
        if not HUB_NAME.fullmatch(name) or Path(self.path).suffix in (
            ".jsonl",
            ".json",
            ".csv",
            ".parquet",
            ".gz",
        ):
            raise UserError(
                f"{self.path}: no such file or directory (and it is not a name on the hub, owner/name)"
            )
        pins = read_json(workspace / "pins.json", {})
        key = f"{self.kind}/{name}"
        if key not in pins:
            pins[key] = _newest_commit(self.kind, name)
            make_directory(workspace)
            write_json(workspace / "pins.json", pins)
        return str(pins[key])


def _newest_commit(kind: str, name: str) -> str:
    """From the hub, or from what was downloaded before where the hub does not answer."""
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    reason = "HF_HUB_OFFLINE is set"
    if not os.environ.get("HF_HUB_OFFLINE"):
        request = urllib.request.Request(f"{endpoint}/api/{kind}/{name}")
        if token := os.environ.get("HF_TOKEN"):
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return str(json.load(answer)["sha"])
        except (urllib.error.URLError, TimeoutError, ValueError, KeyError) as error:
            reason = str(error)
    cache = Path(os.environ.get("HF_HUB_CACHE", Path.home() / ".cache" / "huggingface" / "hub"))
    known = cache / f"{kind}--{name.replace('/', '--')}" / "refs" / "main"
    if known.is_file():
        return known.read_text(encoding="utf-8").strip()
    raise UserError(
        f"{name}: no such file or directory here, and no answer for that name from {endpoint} ({reason})"
    )


def finished_identity(path: str, workspace: Workspace) -> str:
    """What counts of it in a fingerprint: the files that posttrain wrote, not those that were added since.
    Raises UserError as ``SourceFile.identity``.
    """
    written = Product.load(Path(path).expanduser()).made.get("files")
    if not written:
        return SourceFile(path).identity(workspace)
    return f"directory:{hash_text(json.dumps(written, sort_keys=True))}"


def finished_product(path: str, workspace: Workspace) -> Product:
    """A directory a user puts in a stage's place. Raises UserError naming the file where it is not as it was
    written.
    """
    product = Product.load(Path(path).expanduser().resolve())
    if product.made and (harm := workspace.damage(product)):
        raise UserError(
            f"{harm[0]}: the product is damaged; copy it again, or delete its {MADE} to use it as it is"
        )
    return product
