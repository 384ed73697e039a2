"""Things from outside: a file or directory is known by its content, a hub name by its commit."""

from __future__ import annotations

import http.client
import json
import os
import re
import urllib.parse
import urllib.request
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from posttrain.pipeline.files import (
    check_regular,
    expanded,
    hash_text,
    make_directory,
    parsed,
    read_json,
    write_json,
)
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.store import MADE, Product, Workspace, content_of

LONGEST_ANSWER = 32_000_000  # bytes of the hub's
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+|[A-Za-z0-9][\w-]*")
OF_FILES = (".jsonl", ".json", ".csv", ".parquet", ".gz")


@dataclass(frozen=True)
class SourceFile:
    """A file, a directory or a hub name (``owner/name``) that a stage reads; ``kind`` is ``models`` or
    ``datasets``.
    """

    path: str
    """A file, a directory, or a name on the hub (``owner/name``; of rows also ``owner/name:split``)."""
    kind: str = "models"
    """``models`` or ``datasets``: which part of the hub a name is looked up in."""

    @property
    def local(self) -> Path | None:
        """The file or directory, or None where this is a name on the hub."""
        path = expanded(self.path)
        return path if path.exists() else None

    @property
    def hub_name(self) -> str | None:
        """What could be its name on the hub, without the split of a data set, or None where nothing can."""
        name = self.path.partition(":")[0] if self.kind == "datasets" else self.path
        return name if HUB_NAME.fullmatch(name) and Path(self.path).suffix not in OF_FILES else None

    def identity(self, workspace: Workspace) -> str:
        """What counts in a fingerprint. Raises UserError where there is neither a file nor such a name on the
        hub.
        """
        path = self.local
        if path is None:
            return f"hub:{self.path}@{self.commit(workspace.root)}"
        if path.is_dir():
            if self.kind != "datasets" and not (path / "config.json").exists():
                return f"no model:{path}"  # not read, it may be large; the stage that wants it refuses it
            self.check_directory()
            return f"directory:{hash_text(json.dumps(workspace.files(path), sort_keys=True))}"
        check_regular(path, self.path)
        return f"file:{workspace.hash_file(path)}"

    def check_directory(self) -> None:
        """Raises UserError for a directory of rows, and for one that cannot be a model's. Nothing is read:
        the wrong directory may be a large one.
        """
        path = self.local
        if path is None or not path.is_dir():
            return
        if self.kind == "datasets":
            raise UserError(f"{self.path}: a directory; name one file of rows")
        if not (path / "config.json").exists():
            entries = ", ".join(sorted(entry.name for entry in islice(os.scandir(path), 8))) or "nothing"
            raise UserError(
                f"{self.path}: no config.json (found: {entries}); expected a Hugging Face model directory "
                "(config.json, tokenizer.json, model.safetensors)."
            )

    def revision(self, workspace: Path | None) -> str | None:
        """What to ask the hub for, so that what is read is what was fingerprinted; None for a file."""
        return self.commit(workspace or Path(".")) if self.local is None else None

    def commit(self, workspace: Path) -> str:
        """The commit of a hub name, pinned in the workspace the first time it is asked for.

        A data set's split, ``owner/name:split``, is no part of the name.
        """
        name = self.hub_name
        if name is None:
            raise UserError(
                f"{self.path}: no such file or directory (and it is not a name on the hub, owner/name)"
            )
        pins = read_json(workspace / "pins.json", {})
        key = f"{self.kind}/{name}"
        if key not in pins:
            pins[key] = _newest_commit(self.kind, name)
            make_directory(workspace)
            write_json(workspace / "pins.json", pins)
        return _commit(pins[key], f"{workspace / 'pins.json'}: {key}")


def _newest_commit(kind: str, name: str) -> str:
    """From the hub, or from what was downloaded before where the hub does not answer."""
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    reason = "HF_HUB_OFFLINE is set"
    if not os.environ.get("HF_HUB_OFFLINE"):
        try:
            return _commit(_answer(f"{endpoint}/api/{kind}/{name}").get("sha"), f"{endpoint}: {name}")
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = str(error)
    cache = Path(os.environ.get("HF_HUB_CACHE", Path.home() / ".cache" / "huggingface" / "hub"))
    ref = cache / f"{kind}--{name.replace('/', '--')}" / "refs" / "main"
    if ref.is_file():
        return _commit(ref.read_text(encoding="utf-8").strip(), str(ref))
    raise UserError(
        f"{name}: no such file or directory here, and no answer for that name from {endpoint} ({reason})"
    )


def _commit(value: object, said_by: str) -> str:
    """A commit becomes part of paths and addresses. Raises UserError for what is none."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{40}", value):
        raise UserError(
            f"{said_by}: the commit is {str(value)[:60]!r}, expected 40 hexadecimal digits; not fetched"
        )
    return value


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follows a hub to where it sends us on the same host, never to another, which would get the token."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        here, target = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
        if (here.scheme, here.netloc) != (target.scheme, target.netloc):
            raise UserError(
                f"{here.scheme}://{here.hostname}: sends us on to {target.scheme}://{target.hostname}, "
                "another host; not followed, since it would be sent the token. Set HF_ENDPOINT to the host "
                "you mean"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _answer(address: str) -> dict[str, Any]:
    """A JSON object from the hub, with the token that HF_TOKEN holds. Raises OSError or ValueError."""
    if urllib.parse.urlsplit(address).scheme not in ("http", "https"):
        raise UserError(f"HF_ENDPOINT is {address.partition('/api/')[0]}: expected https://...")
    request = urllib.request.Request(address)
    if token := os.environ.get("HF_TOKEN"):
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.build_opener(_SameHost).open(request, timeout=10) as answer:
        reply = parsed(answer.read(LONGEST_ANSWER).decode("utf-8"))
    if not isinstance(reply, dict):
        raise ValueError("an answer that is no object")
    return reply


def finished_identity(path: str, workspace: Workspace) -> str:
    """What counts of it in a fingerprint: the files that posttrain wrote, not those that were added since.
    Raises UserError where there is no such directory, or one with too many files.
    """
    product = Product.load(expanded(path))
    files = product.made.get("files") or workspace.files(product.path)
    return f"directory:{content_of(files)}"


def finished_product(path: str, workspace: Workspace) -> Product:
    """A directory a user puts in a stage's place. Raises UserError naming the file where it is not as it was
    written.
    """
    product = Product.load(expanded(path).resolve())
    if product.made and (harm := workspace.damage(product)):
        raise UserError(
            f"{harm[0]}: the product is damaged; copy it again, or delete its {MADE} to use it as it is"
        )
    return product
