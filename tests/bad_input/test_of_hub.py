"""A hub that sends on to another host, or whose answer is no commit: nothing is fetched or pinned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.bad_input.answer import answer, tells
from tests.pipeline.test_hub_answers import COMMIT, TOKEN, hub

COMMANDS = {
    "models": (["run", "dpo", "base=owner/name", "comparisons=good.jsonl"], "owner/name"),
    "datasets": (["run", "instructgpt", "comparisons=owner/rows:test"], "owner/rows"),
}


@pytest.fixture(params=COMMANDS)
def asked(
    request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, list[str], str]:
    """The kind, the command line and the hub's name; a token is set, and nothing was downloaded before."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(home / "cache"))
    return (request.param, *COMMANDS[request.param])


def test_a_name_that_is_sent_on_to_another_host_is_refused(
    asked: tuple[str, list[str], str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40: the token goes to no other host, and is not shown."""
    kind, command, name = asked
    sends_on: dict[str, Any] = {}
    with hub({"/stolen": {"sha": COMMIT}}) as (other, theirs), hub(sends_on) as (own, _):
        sends_on[f"/api/{kind}/{name}"] = f"{other}/stolen"
        monkeypatch.setenv("HF_ENDPOINT", own)
        said = answer(command, home)
    tells(said, "sends us on to http://127.0.0.1, another host; not followed", "Set HF_ENDPOINT to the host")
    assert theirs == []
    assert TOKEN not in said


@pytest.mark.parametrize("sha", ["../../evil", COMMIT[:-1], None, 7])
def test_an_answer_that_is_no_commit_is_refused(
    sha: Any, asked: tuple[str, list[str], str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40."""
    kind, command, name = asked
    with hub({f"/api/{kind}/{name}": {"sha": sha}}) as (own, _):
        monkeypatch.setenv("HF_ENDPOINT", own)
        said = answer(command, home)
    tells(said, rf"{name}: the commit is '?.*, expected 40 hexadecimal digits; not fetched")


def test_pins_that_somebody_edited_are_refused(asked: tuple[str, list[str], str], home: Path) -> None:
    kind, command, name = asked
    (home / "workspace").mkdir()
    (home / "workspace/pins.json").write_text(f'{{"{kind}/{name}": "../../evil"}}')
    tells(answer(command, home), rf"pins\.json: {kind}/{name}: the commit is '../../evil', expected 40 hex")
