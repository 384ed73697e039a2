"""Validates one row at a time: returns each field in its expected form, or records what is wrong with it."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from posttrain.data.rows import Problems, Row
from posttrain.pipeline.values import nearest

ROLES = ("system", "user", "assistant")


LONGEST = 80  # characters of a value that are shown
COLUMNS = 8  # names of a row that are shown
MESSAGES = 'messages [{"role", "content"}, ...]'
VERIFIED = "something to verify answers by: answer, tests, cases or checks"
TEXT, EITHER = "text", f"text or {MESSAGES}"
_STORED = re.compile(r"""\s*\[\s*\{\s*["'](role|content|from|value)["']\s*:.*\]\s*""", re.DOTALL)


class BadRow(Exception):
    """This row cannot be used; its problem is recorded."""


class RowValidator:
    """Reads the fields of one row at a time and records problems by field path."""

    def __init__(self, problems: Problems, first: tuple[int, Row] = (0, {})) -> None:
        self._problems = problems
        self.where = ""
        self._first = first  # number and row, from which rows of another shape differ

    def wrong(self, path: str, what: str) -> NoReturn:
        self._problems.add(self.where, f"{path} {what}")
        raise BadRow

    def conversation(self, row: Row, column: str, asked: Sequence[Row] = ()) -> list[Row]:
        """A whole conversation that ends with an answer."""
        messages = self._messages(self._value(row, column, MESSAGES), column)
        self._ends_with_answer(messages, column)
        if len(messages) < 2 or not any(message["role"] == "user" for message in messages):
            self.wrong(column, "has no user message before the answer, expected one that it answers")
        return messages

    def _ends_with_answer(self, messages: Sequence[Row], column: str) -> None:
        if messages[-1]["role"] != "assistant":
            self.wrong(
                f"{column}[{len(messages) - 1}].role", "is the last, expected assistant: there is no answer"
            )

    def asked(self, row: Row, column: str) -> list[Row]:
        """A prompt as messages; text is what the user said."""
        value = self._value(row, column, EITHER)
        if isinstance(value, str):
            return [{"role": "user", "content": self._plain_text(value, column)}]
        messages = self._messages(value, column, expected=EITHER)
        if messages[-1]["role"] != "user":
            self.wrong(
                f"{column}[{len(messages) - 1}].role",
                "is the last, expected user: there is nothing to answer",
            )
        return messages

    def answer(self, row: Row, column: str, asked: Sequence[Row] = ()) -> list[Row]:
        """What follows the prompt: text as one message by the assistant, or messages that begin and end with
        one. A conversation that repeats the prompt is cut to what follows.
        """
        value = self._value(row, column, EITHER)
        if isinstance(value, str):
            return [{"role": "assistant", "content": self._plain_text(value, column)}]
        if asked and isinstance(value, list) and value[: len(asked)] == list(asked):
            value = value[len(asked) :]
        messages = self._messages(value, column, "assistant", EITHER)
        if messages[0]["role"] != "assistant":
            self.wrong(f"{column}[0].role", f"is {messages[0]['role']}, expected the assistant's answer")
        self._ends_with_answer(messages, column)
        return messages

    def text(self, row: Row, column: str, blank: bool = False, path: str = "") -> str:
        """Text as it is; empty or white space where ``blank`` says so. ``path`` is where the row stands."""
        value = self._value(row, column, TEXT, path)
        return str(value) if blank and isinstance(value, str) else self._content(value, path + column)

    def objects(self, row: Row, column: str) -> list[Row]:
        """A list of objects, at least one."""
        value = self._value(row, column, "a list of objects")
        if not isinstance(value, list) or not value or not all(isinstance(one, dict) for one in value):
            self.wrong(column, f"is {kind(value)}, expected a list of objects")
        return list(value)

    def short(self, row: Row, column: str) -> str:
        """An answer to compare with: text or a number."""
        value = self._value(row, column, "text or a number")
        if isinstance(value, bool) or not isinstance(value, int | float | str) or not str(value).strip():
            self.wrong(column, f"is {shown(value)}, expected text or a number")
        return str(value).strip()

    def amount(self, row: Row, column: str) -> float:
        """A number that is 0 or more."""
        value = self._value(row, column, "a number from 0 upwards")
        largest = sys.float_info.max
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= largest:
            self.wrong(column, f"is {shown(value)}, expected a number from 0 upwards")
        return float(value)

    def share(self, row: Row, column: str) -> float:
        """A number from 0 to 1."""
        value = self.amount(row, column)
        if value > 1:
            self.wrong(column, f"is {shown(value)}, expected a share from 0 to 1")
        return value

    def truth(self, row: Row, column: str) -> bool:
        """True or false, also as 1 or 0, or as text."""
        value = self._value(row, column, "true (wanted) or false")
        truth = {"true": True, "false": False, "1": True, "0": False}.get(str(value).strip().lower())
        if truth is None:
            self.wrong(column, f"is {shown(value)}, expected true (wanted) or false")
        return bool(truth)

    def _value(self, row: Row, column: str, expected: str, path: str = "") -> Any:
        value = row.get(column)
        if value is None:
            self.absent(row, column, expected, path)
        return value

    def absent(self, row: Row, column: str, expected: str, path: str = "") -> NoReturn:
        """Records an empty cell; where the row's columns differ from the first row's, it names both."""
        problem = f"is {'null' if column in row else 'missing'}, expected {expected}"
        if not path and column not in row and column in self._first[1]:
            problem += f"; this row has {_names(row)}, and row {self._first[0]} has {_names(self._first[1])}"
        self.wrong(path + column, problem)

    def _plain_text(self, value: str, path: str) -> str:
        """Text where messages may be too: a list of messages in quotes is no text."""
        if _STORED.fullmatch(value):
            self.wrong(path, f"is a list stored as text, expected {EITHER}; store the list itself")
        return self._content(value, path)

    def _content(self, value: Any, path: str) -> str:
        if not isinstance(value, str):
            self.wrong(path, f"is {kind(value)}, expected text")
        if not value.strip():
            self.wrong(path, "is empty, expected text")
        return str(value)

    def _messages(self, value: Any, column: str, first: str = "user", expected: str = MESSAGES) -> list[Row]:
        if isinstance(value, str):
            listed = value.lstrip().startswith("[")
            self.wrong(
                column,
                f"is {'a list stored as text' if listed else 'text'}, expected {expected}"
                + ("; store the list itself" if listed else ""),
            )
        if not isinstance(value, list) or not value:
            self.wrong(column, f"is {kind(value)}, expected {expected}")
        made: list[Row] = []
        turn = first
        for number, message in enumerate(value):
            path = f"{column}[{number}]"
            if not isinstance(message, dict):
                self.wrong(path, f'is {kind(message)}, expected {{"role", "content"}}')
            role = message.get("role")
            if role not in ROLES:
                self.wrong(f"{path}.role", f"is {shown(role)}{nearest(str(role)[:LONGEST], ROLES)}")
            if role == "system" and number:
                self.wrong(
                    f"{path}.role",
                    "is system, expected user or assistant: only the first message may be system",
                )
            if role not in ("system", turn):
                self.wrong(f"{path}.role", f"is {role}, expected {turn}: user and assistant take turns")
            made.append({"role": role, "content": self._content(message.get("content"), f"{path}.content")})
            if role == "assistant" and message.get("weight") is not None:
                made[-1] |= self._weight(message["weight"], f"{path}.weight")
            turn = turn if role == "system" else "user" if role == "assistant" else "assistant"
        return made

    def learned(self, messages: list[Row], column: str) -> list[Row]:
        """The messages, of which at least one answer is to be learned."""
        if all(message.get("weight") == 0 for message in messages if message["role"] == "assistant"):
            self.wrong(column, "has weight 0 on every answer: there is nothing to learn")
        return messages

    def _weight(self, value: Any, path: str) -> Row:
        """OpenAI's mark of an answer that is read and not learned; 1 says nothing."""
        if value not in (0, 1):
            self.wrong(path, f"is {value!r}, expected 0 (read, not learned) or 1")
        return {} if value else {"weight": 0}


def _names(row: Row) -> str:
    """The columns of a row, the first few of many."""
    names = sorted(map(str, row))
    more = ["..."] if len(names) > COLUMNS else []
    return ", ".join([*names[:COLUMNS], *more]) or "none"


def shown(value: Any) -> str:
    """A value in a message, the beginning of a long one."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def kind(value: Any) -> str:
    names = {
        type(None): "null",
        list: "a list" if value else "an empty list",
        dict: "an object",
        bool: "a truth value",
    }
    return names.get(
        type(value), f"a number ({shown(value)})" if isinstance(value, int | float) else type(value).__name__
    )
