"""A user's rows, checked: demonstrations, comparisons and prompts in the columns of the TRL dataset
formats.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from posttrain.data.rows import Problems, Row, read_rows
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.values import nearest

ROLES = ("system", "user", "assistant")


def read_messages(source: str, revision: str | None = None) -> list[Row]:
    """Demonstrations as rows {"messages": [...]}, the last message the assistant's.

    Reads ``messages``, or ``prompt`` with ``completion``, each text or messages. Raises UserError with the
    first ten problems and their count.
    """
    rows = read_rows(source, revision)
    if any("messages" in row for row in rows) or not any("completion" in row for row in rows):
        _columns(rows, ["messages"], source)
        return _checked(rows, source, lambda row, check: {"messages": check.conversation(row, "messages")})
    _columns(rows, ["prompt", "completion"], source)

    def joined(row: Row, check: _Check) -> Row:
        return {"messages": check.asked(row, "prompt") + check.answer(row, "completion")}

    return _checked(rows, source, joined)


def read_prompts(source: str, revision: str | None = None) -> list[Row]:
    """Rows {"prompt": messages}, the last message the user's. Raises UserError as above."""
    rows = read_rows(source, revision)
    _columns(rows, ["prompt"], source)
    return _checked(rows, source, lambda row, check: {"prompt": check.asked(row, "prompt")})


def read_comparisons(source: str, revision: str | None = None) -> list[Row]:
    """Rows {"prompt": messages, "chosen": messages, "rejected": messages}, the answers without the prompt.

    Where there is no ``prompt``, ``chosen`` and ``rejected`` are whole conversations and what they share is
    the prompt. Raises UserError as above, also where both answers are equal or a pair was judged both ways.
    """
    rows = read_rows(source, revision)
    told = any("prompt" in row for row in rows) or any(isinstance(row.get("chosen"), str) for row in rows)
    _columns(rows, ["prompt", "chosen", "rejected"] if told else ["chosen", "rejected"], source)
    judged: dict[str, int] = {}
    place = 0

    def pair(row: Row, check: _Check) -> Row:
        nonlocal place
        place += 1
        if told:
            asked = check.asked(row, "prompt")
            found = {
                "prompt": asked,
                **{side: check.answer(row, side, asked) for side in ("chosen", "rejected")},
            }
        else:
            whole = {side: check.conversation(row, side) for side in ("chosen", "rejected")}
            if whole["chosen"][:-1] != whole["rejected"][:-1]:
                check.wrong("rejected", "does not begin as chosen does, so there is no shared prompt")
            found = {"prompt": whole["chosen"][:-1], **{side: said[-1:] for side, said in whole.items()}}
        if found["chosen"] == found["rejected"]:
            check.wrong("rejected", "is the same as chosen; delete the row, nothing can be learnt from it")
        opposite = judged.get(json.dumps([found["prompt"], found["rejected"], found["chosen"]]))
        if opposite:
            check.wrong("chosen", f"was the rejected one in row {opposite}; keep one of the two rows")
        judged.setdefault(json.dumps([found["prompt"], found["chosen"], found["rejected"]]), place)
        return found

    return _checked(rows, source, pair)


class _Wrong(Exception):
    """This row cannot be used; the problem is noted."""


class _Check:
    """Looks at one row at a time and notes what is wrong by its field path."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self.where = ""

    def wrong(self, path: str, what: str) -> None:
        self._problems.add(self.where, f"{path} {what}")
        raise _Wrong

    def conversation(self, row: Row, column: str) -> list[Row]:
        """A whole conversation that ends with an answer."""
        messages = self._messages(self._value(row, column), column)
        if messages[-1]["role"] != "assistant":
            self.wrong(
                f"{column}[{len(messages) - 1}].role", "is the last and not assistant: there is no answer"
            )
        if len(messages) < 2 or not any(message["role"] == "user" for message in messages):
            self.wrong(column, "has no user message before the answer")
        return messages

    def asked(self, row: Row, column: str) -> list[Row]:
        """A prompt as messages; text is what the user said."""
        value = self._value(row, column)
        if isinstance(value, str):
            return [{"role": "user", "content": self._content(value, column)}]
        messages = self._messages(value, column)
        if messages[-1]["role"] != "user":
            self.wrong(
                f"{column}[{len(messages) - 1}].role", "is the last and not user: there is nothing to answer"
            )
        return messages

    def answer(self, row: Row, column: str, asked: Sequence[Row] = ()) -> list[Row]:
        """An answer as one assistant message; a conversation that repeats the prompt is cut to what
        follows.
        """
        value = self._value(row, column)
        if isinstance(value, str):
            return [{"role": "assistant", "content": self._content(value, column)}]
        if asked and isinstance(value, list) and value[: len(asked)] == list(asked):
            value = value[len(asked) :]
        messages = self._messages(value, column, first="assistant")
        if len(messages) != 1:
            self.wrong(
                column, f"has {len(messages)} messages, expected one by the assistant after the prompt"
            )
        return messages

    def _value(self, row: Row, column: str) -> Any:
        value = row.get(column)
        if value is None:
            self.wrong(column, "is missing" if column not in row else "is null")
        return value

    def _content(self, value: Any, path: str) -> str:
        if not isinstance(value, str):
            self.wrong(path, f"is {_kind(value)}, expected text")
        if not value.strip():
            self.wrong(path, "is empty")
        return str(value)

    def _messages(self, value: Any, column: str, first: str = "user") -> list[Row]:
        if isinstance(value, str):
            listed = value.lstrip().startswith("[")
            self.wrong(
                column,
                "is a list stored as text; store the list itself" if listed else "is text, expected messages",
            )
        if not isinstance(value, list) or not value:
            self.wrong(column, f'is {_kind(value)}, expected messages [{{"role", "content"}}, ...]')
        made: list[Row] = []
        expected = first
        for number, message in enumerate(value):
            path = f"{column}[{number}]"
            if not isinstance(message, dict):
                self.wrong(path, f'is {_kind(message)}, expected {{"role", "content"}}')
            role = message.get("role")
            if role not in ROLES:
                self.wrong(f"{path}.role", f"is {role!r}{nearest(str(role), ROLES)}")
            if role == "system" and number:
                self.wrong(f"{path}.role", "is system; only the first message may be")
            if role not in ("system", expected):
                self.wrong(f"{path}.role", f"is {role}, expected {expected}: user and assistant take turns")
            made.append({"role": role, "content": self._content(message.get("content"), f"{path}.content")})
            expected = expected if role == "system" else "user" if role == "assistant" else "assistant"
        return made


def _kind(value: Any) -> str:
    names = {
        type(None): "null",
        list: "a list" if value else "an empty list",
        dict: "an object",
        bool: "a truth value",
    }
    return names.get(
        type(value), f"a number ({value})" if isinstance(value, int | float) else type(value).__name__
    )


def _columns(rows: Sequence[Row], wanted: Sequence[str], source: str) -> None:
    """A column that no row has is one mistake, not one a row."""
    there = {column for row in rows for column in row}
    for column in wanted:
        if column not in there:
            raise UserError(f"{source}: no column {column}{nearest(column, there)}")


def _checked(rows: Sequence[Row], source: str, use: Callable[[Row, _Check], Row]) -> list[Row]:
    """Every row in its checked form with its own id, or all problems together."""
    problems = Problems(source)
    check = _Check(problems)
    made: list[Row] = []
    ids: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        check.where = f"row {number}"
        try:
            kept = use(row, check)
            own = row.get("id")
            if own is not None and str(own) in ids:
                check.wrong("id", f"{own!r} is also that of row {ids[str(own)]}")
        except _Wrong:
            continue
        if own is not None:
            ids[str(own)] = number
            kept = {"id": str(own), **kept}
        made.append(kept)
    problems.stop_if_any()
    return made
