"""A user's rows, checked: demonstrations, comparisons and prompts in the columns of the TRL dataset
formats.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from posttrain.data.check import Check, Wrong
from posttrain.data.constraints import wrong_check
from posttrain.data.rows import Problems, Row, numbered_rows
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.values import nearest

VERIFIABLE = ("answer", "tests", "cases", "checks")  # any of these makes a prompt a problem


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

    def joined(row: Row, check: Check) -> Row:
        return {"messages": check.asked(row, "prompt") + check.answer(row, "completion")}

    return file.checked(joined)


def read_prompts(source: str, revision: str | None = None, skipped: Problems | None = None) -> list[Row]:
    """Rows {"prompt": messages}, the last message the user's, with what a program can verify answers by where
    a row has it. Raises UserError as above.
    """
    file = _File(source, revision, skipped)
    file.columns("prompt")

    def asked(row: Row, check: Check) -> Row:
        kinds: dict[str, Any] = {"tests": str, "entry_point": str, "cases": list, "checks": list}
        kinds["answer"] = (str, int, float)
        known = {name: row[name] for name, kind in kinds.items() if isinstance(row.get(name), kind)}
        return {"prompt": check.asked(row, "prompt"), **verifiable(known, check)}

    return file.checked(asked)


def read_problems(source: str, revision: str | None = None, skipped: Problems | None = None) -> list[Row]:
    """Rows {"prompt", ...} with what a program can verify answers by, the prompt as messages; or where a row
    has ``stop``, plain text to be gone on with until that is said. Raises UserError as above.
    """
    file = _File(source, revision, skipped)
    file.columns("prompt")
    if not any(file.has(column) for column in VERIFIABLE):
        file.columns("answer")

    def problem(row: Row, check: Check) -> Row:
        if not (found := verifiable(row, check)):
            present = [column for column in VERIFIABLE if column in row]
            check.wrong(present[0] if present else "answer", "is null" if present else "is missing")
        if row.get("stop"):
            return {"prompt": check.text(row, "prompt"), "stop": check.text(row, "stop", blank=True), **found}
        return {"prompt": check.asked(row, "prompt"), **found}

    return file.checked(problem)


def verifiable(row: Row, check: Check) -> Row:
    """What the rewards read of a row: ``answer``, text or a number; ``tests``, Python, with ``entry_point``;
    ``cases`` of a program; ``checks`` as the ``item`` that holds them.
    """
    found: Row = {}
    if row.get("answer") is not None:
        found["answer"] = check.short(row, "answer")
    for column in ("tests", "entry_point"):
        if row.get(column) is not None:
            found[column] = check.text(row, column)
    if row.get("cases") is not None:
        found["cases"] = [
            {end: check.text(case, end, blank=True, path=f"cases[{n}].") for end in ("input", "output")}
            for n, case in enumerate(check.objects(row, "cases"))
        ]
    if row.get("checks") is not None:
        checks = check.objects(row, "checks")
        if told := wrong_check(checks):
            check.wrong("checks", told)
        found["item"] = {"family": "constraint", "checks": checks}
    return found


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

    def pair(row: Row, check: Check) -> Row:
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

    def rated(row: Row, check: Check) -> Row:
        asked = check.asked(row, "prompt")
        return {
            "prompt": asked,
            "completion": check.answer(row, "completion", asked),
            "label": check.truth(row, "label"),
        }

    return file.checked(rated)


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

    def checked(self, use: Callable[[Row, Check], Row]) -> list[Row]:
        """Every row in its checked form with its own id, or all problems of the file together."""
        check = Check(self._problems)
        made: list[Row] = []
        ids: dict[str, int] = {}
        for number, row in self.rows:
            check.where = f"row {number}"
            try:
                kept = use(row, check)
                own = row.get("id")
                if own is not None and str(own) in ids:
                    check.wrong("id", f"{own!r} is also that of row {ids[str(own)]}")
            except Wrong:
                continue
            if own is not None:
                ids[str(own)] = number
                kept = {"id": str(own), **kept}
            made.append(kept)
        if self._stops or not made:
            good = f"{len(made)} rows are good; --skip-bad goes on with those"
            self._problems.stop_if_any(good if made else "")
        return made
