"""The hub's token goes to the hub alone, and what it answers becomes no path before it was looked at."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from posttrain.pipeline.finding import UserError
from posttrain.pipeline.sources import SourceFile

COMMIT = "0123456789abcdef" * 2 + "01234567"
TOKEN = "a token that is nobody else's"


@contextmanager
def hub(answers: dict[str, Any]) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """A server of JSON answers, of redirects where one is text; what it was asked, with what token."""
    asked: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers.get("Authorization")))
            answer = answers[self.path]
            self.send_response(307 if isinstance(answer, str) else 200)
            if isinstance(answer, str):
                self.send_header("Location", answer)
            self.end_headers()
            if not isinstance(answer, str):
                self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))


def test_the_token_does_not_follow_to_another_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sends_on: dict[str, Any] = {}
    with hub({"/stolen": {"sha": COMMIT}}) as (other, theirs), hub(sends_on) as (own, ours):
        sends_on["/api/models/owner/name"] = f"{other}/stolen"
        monkeypatch.setenv("HF_ENDPOINT", own)
        with pytest.raises(UserError, match="another host; not followed"):
            SourceFile("owner/name").commit(tmp_path)
    assert ours == [("/api/models/owner/name", f"Bearer {TOKEN}")]
    assert theirs == []
    assert not (tmp_path / "pins.json").exists()


def test_a_name_that_moved_on_the_same_host_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {"/api/models/old/name": "/api/models/new/name", "/api/models/new/name": {"sha": COMMIT}}
    with hub(answers) as (own, ours):
        monkeypatch.setenv("HF_ENDPOINT", own)
        assert SourceFile("old/name").commit(tmp_path) == COMMIT
    assert [token for _, token in ours] == [f"Bearer {TOKEN}"] * 2


@pytest.mark.parametrize("sha", ["../../evil", COMMIT[:-1], COMMIT.upper(), f"{COMMIT}\n", None, 7, ["a"]])
def test_an_answer_that_is_no_commit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sha: Any
) -> None:
    with hub({"/api/datasets/owner/rows": {"sha": sha}}) as (own, _):
        monkeypatch.setenv("HF_ENDPOINT", own)
        with pytest.raises(UserError, match=r"owner/rows: the commit is .*, expected 40 hexadecimal digits"):
            SourceFile("owner/rows:test", "datasets").commit(tmp_path)
    assert not (tmp_path / "pins.json").exists()


@pytest.mark.parametrize("answer", [[], 3, {"error": "gone"}])
def test_an_answer_of_another_form_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    with hub({"/api/models/owner/name": answer}) as (own, _):
        monkeypatch.setenv("HF_ENDPOINT", own)
        with pytest.raises(UserError, match="owner/name: "):
            SourceFile("owner/name").commit(tmp_path)


def test_pins_and_the_cache_are_looked_at_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pins.json").write_text(json.dumps({"models/owner/name": "../../evil"}))
    with pytest.raises(UserError, match=r"pins.json: models/owner/name: the commit is '../../evil'"):
        SourceFile("owner/name").commit(tmp_path)
    (tmp_path / "pins.json").write_text("[]")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refs = tmp_path / "cache" / "models--owner--name" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text("../../evil")
    with pytest.raises(UserError, match="expected 40 hexadecimal digits"):
        SourceFile("owner/name").commit(tmp_path)
    (refs / "main").write_text(COMMIT)
    assert SourceFile("owner/name").commit(tmp_path) == COMMIT


def test_a_hub_is_asked_over_http(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"file://{tmp_path}")
    with pytest.raises(UserError, match=r"HF_ENDPOINT is file://.*: expected https"):
        SourceFile("owner/name").commit(tmp_path)
