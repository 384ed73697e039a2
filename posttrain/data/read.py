"""A user's rows, checked: demonstrations, comparisons and prompts in the columns of the TRL dataset
formats.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from posttrain.data.rows import Problems, Row, numbered_rows
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.values import nearest

ROLES = ("system", "user", "assistant")


def read_messages(source: str, revision: str | None = None, skipped: Problems | None = None) -> list[Row]:
    """Demonstrations as rows {"messages": [...]}, the last message the assistant's.

    Reads ``messages``, or ``prompt`` with ``completion``, each text or messages. Raises UserError with the
    first ten problems and their count; with ``skipped`` they are noted there, and the other rows are read.
    """
    file = _File(source, revision, skipped)
    if file.has("messages") or not file.has("completion"):
        file.columns("messages")
        return file.checked(lambda row, check: {"messages": check.conversation(row, "messages")})
    file.columns("prompt", "completion")

    def joined(row: Row, check: _Check) -> Row:
        return {"messages": check.asked(row, "prompt") + check.answer(row, "completion")}

    return file.checked(joined)


def read_prompts(source: str, revision: str | None = None, skipped: Problems | None = None) -> list[Row]:
    """Rows {"prompt": messages}, the last message the user's. Raises UserError as above."""
    file = _File(source, revision, skipped)
    file.columns("prompt")
    return file.checked(lambda row, check: {"prompt": check.asked(row, "prompt")})


def read_problems(source: str, revision: str | None = None, skipped: Problems | None = None) -> list[Row]:
    """Rows {"prompt", "answer": text}, the prompt as messages; or where a row has ``stop``, plain text to be
    gone on with until that is said. Raises UserError as above.
    """
    file = _File(source, revision, skipped)
    file.columns("prompt", "answer")

    def problem(row: Row, check: _Check) -> Row:
        found = {"answer": check.short(row, "answer")}
        if row.get("stop"):
            return {"prompt": check.text(row, "prompt"), "stop": check.text(row, "stop", blank=True), **found}
        return {"prompt": check.asked(row, "prompt"), **found}

    return file.checked(problem)


def read_text(source: str, revision: str | None = None, skipped: Problems | None = None) -> list[Row]:
    """Plain text: rows {"text"} as rows {"prompt": "", "completion": text}. Raises UserError as above."""
    file = _File(source, revision, skipped)
    file.columns("text")
    return file.checked(lambda row, check: {"prompt": "", "completion": check.text(row, "text")})


def read_comparisons(source: str, revision: str | None = None, skipped: Problems | None = None) -> list[Row]:
    """Rows {"prompt": messages, "chosen": messages, "rejected": messages}, the answers without the prompt;
    and {"margin"}, how much better the chosen one is, where a row says so.

    Where there is no ``prompt``, ``chosen`` and ``rejected`` are whole conversations and what they share is
    the prompt. Raises UserError as above, also where both answers are equal or a pair was judged both ways.
    """
    file = _File(source, revision, skipped)
    told = file.has("prompt") or any(isinstance(row.get("chosen"), str) for _, row in file.rows)
    file.columns(*(["prompt", "chosen", "rejected"] if told else ["chosen", "rejected"]))
    judged: dict[str, str] = {}

    def pair(row: Row, check: _Check) -> Row:
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
            check.wrong("chosen", f"was the rejected one in {opposite}; keep one of the two rows")
        judged.setdefault(json.dumps([found["prompt"], found["chosen"], found["rejected"]]), check.where)
        return found | ({"margin": check.amount(row, "margin")} if row.get("margin") is not None else {})

    return file.checked(pair)


def read_ratings(source: str, revision: str | None = None, skipped: Problems | None = None) -> list[Row]:
    """Rows {"prompt": messages, "completion": messages, "label": bool}: answers that were wanted or not, each
    on its own. Raises UserError as above, also where a label is neither true nor false.
    """
    file = _File(source, revision, skipped)
    file.columns("prompt", "completion", "label")

    def rated(row: Row, check: _Check) -> Row:
        asked = check.asked(row, "prompt")
        return {
            "prompt": asked,
            "completion": check.answer(row, "completion", asked),
            "label": check.truth(row, "label"),
        }

    return file.checked(rated)


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

    def text(self, row: Row, column: str, blank: bool = False) -> str:
        """Text as it is; only white space where ``blank`` says so."""
        value = self._value(row, column)
        return str(value) if blank and isinstance(value, str) else self._content(value, column)

    def short(self, row: Row, column: str) -> str:
        """An answer to compare with: text or a number."""
        value = self._value(row, column)
        if isinstance(value, bool) or not isinstance(value, int | float | str) or not str(value).strip():
            self.wrong(column, f"is {value!r}, expected text or a number")
        return str(value).strip()

    def amount(self, row: Row, column: str) -> float:
        """A number that is 0 or more."""
        value = self._value(row, column)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            self.wrong(column, f"is {value!r}, expected a number from 0 upwards")
        return float(value)

    def truth(self, row: Row, column: str) -> bool:
        """True or false, also as 1 or 0, or as text."""
        value = self._value(row, column)
        found = {"true": True, "false": False, "1": True, "0": False}.get(str(value).strip().lower())
        if found is None:
            self.wrong(column, f"is {value!r}, expected true (wanted) or false")
        return bool(found)

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


class _File:
    """The rows of a source under examination."""

    def __init__(self, source: str, revision: str | None, skipped: Problems | None) -> None:
        self._source = source
        self._stops = skipped is None
        self._problems = Problems(source) if skipped is None else skipped
        self.rows = numbered_rows(source, revision, self._problems)

    def has(self, column: str) -> bool:
        return any(column in row for _, row in self.rows)

    def columns(self, *wanted: str) -> None:
        """A column that no row has is one mistake, not one a row."""
        there = {column for _, row in self.rows for column in row}
        for column in wanted if self.rows else ():
            if column not in there:
                raise UserError(f"{self._source}: no column {column}{nearest(column, there)}")

    def checked(self, use: Callable[[Row, _Check], Row]) -> list[Row]:
        """Every row in its checked form with its own id, or all problems of the file together."""
        check = _Check(self._problems)
        made: list[Row] = []
        ids: dict[str, int] = {}
        for number, row in self.rows:
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
        if self._stops or not made:
            good = f"{len(made)} rows are good; --skip-bad goes on with those"
            self._problems.stop_if_any(good if made else "")
        return made
