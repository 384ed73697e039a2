"""Reads and checks a user's demonstrations, comparisons and prompts, in the columns of TRL's data formats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from posttrain.data.constraints import wrong_check
from posttrain.data.formats import UNREADABLE, recognised
from posttrain.data.pair_votes import pair_key, soft_labels
from posttrain.data.rows import Problems, Row, numbered_rows
from posttrain.data.transcripts import with_system
from posttrain.data.validate import VERIFIED, BadRow, RowValidator, shown
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.values import nearest

CODE = ("tests", "entry_point", "code_before")  # of a prompt that asks for Python
VERIFIABLE = ("answer", "tests", "cases", "checks")  # any of these makes a prompt a problem
SYSTEM = ("system", "system_prompt")


@dataclass
class ReadOptions:
    """How a file is read: ``columns`` maps a standard column to the file's own; ``notices`` collects what a
    user should know of it, and ``skipped``, where it is given, the problems of rows that are left out.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    skipped: Problems | None = None
    notices: list[str] = field(default_factory=list)


def read_messages(source: str, revision: str | None = None, reading: ReadOptions | None = None) -> list[Row]:
    """Demonstrations as rows {"messages": [...]}, the last message the assistant's.

    Reads ``messages``, or ``prompt`` with ``completion``, each text or messages, and what ``formats``
    recognises. Raises UserError with the first ten problems and their count; where ``reading`` has
    ``skipped`` they are noted there, and the other rows are read.
    """
    file = _File(source, revision, reading, "demonstrations", ("messages", "prompt", "completion"))
    if file.has("messages") or not (file.has("prompt") or file.has("completion")):
        file.columns("messages")
        return file.checked(
            lambda row, check: {"messages": check.learned(check.conversation(row, "messages"), "messages")}
        )
    file.columns("prompt", "completion")

    def joined(row: Row, check: RowValidator) -> Row:
        answer = check.learned(check.answer(row, "completion"), "completion")
        return {"messages": check.asked(row, "prompt") + answer}

    return file.checked(joined)


def read_prompts(source: str, revision: str | None = None, reading: ReadOptions | None = None) -> list[Row]:
    """Rows {"prompt": messages}, the last message the user's, with the columns for verifiers that a row has.
    Raises UserError as above.
    """
    file = _File(source, revision, reading, "prompts", ("prompt", *VERIFIABLE, *CODE[1:]))
    file.columns("prompt")

    def asked(row: Row, check: RowValidator) -> Row:
        kinds: dict[str, Any] = {**dict.fromkeys(CODE, str), "cases": list, "checks": list}
        kinds["answer"] = (str, int, float)
        verifiers = {name: row[name] for name, kind in kinds.items() if isinstance(row.get(name), kind)}
        return {"prompt": check.asked(row, "prompt"), **verifiable(verifiers, check)}

    return file.checked(asked)


def read_problems(source: str, revision: str | None = None, reading: ReadOptions | None = None) -> list[Row]:
    """Rows {"prompt", ...} with the columns that verifiers read; the prompt is messages, or in a row with
    ``stop`` plain text that the model continues until it writes ``stop``. Raises UserError as above.
    """
    file = _File(source, revision, reading, "prompts", ("prompt", *VERIFIABLE, *CODE[1:], "stop"))
    file.columns("prompt")
    if not any(file.has(column) for column in VERIFIABLE):
        file.columns("answer")

    def problem(row: Row, check: RowValidator) -> Row:
        if not (verifiers := verifiable(row, check)):
            present = [column for column in VERIFIABLE if column in row]
            check.absent(row, present[0] if present else "answer", VERIFIED)
        if row.get("stop"):
            return {
                "prompt": check.text(row, "prompt"),
                "stop": check.text(row, "stop", blank=True),
            } | verifiers
        return {"prompt": check.asked(row, "prompt"), **verifiers}

    return file.checked(problem)


def verifiable(row: Row, check: RowValidator) -> Row:
    """What the rewards read of a row: ``answer``, text or a number; ``tests``, Python, with ``entry_point``
    and ``code_before``; ``cases`` of a program; ``checks`` as the ``item`` that holds them.
    """
    columns: Row = {}
    if row.get("answer") is not None:
        columns["answer"] = check.short(row, "answer")
    for column in CODE:
        if row.get(column) is not None:
            columns[column] = check.text(row, column)
    if row.get("cases") is not None:
        columns["cases"] = [
            {end: check.text(case, end, blank=True, path=f"cases[{n}].") for end in ("input", "output")}
            for n, case in enumerate(check.objects(row, "cases"))
        ]
    if row.get("checks") is not None:
        checks = check.objects(row, "checks")
        if problem := wrong_check(checks):
            check.wrong("checks", problem)
        columns["item"] = {"family": "constraint", "checks": checks}
    return columns


def read_text(source: str, revision: str | None = None, reading: ReadOptions | None = None) -> list[Row]:
    """Plain text: rows {"text"} as rows {"prompt": "", "completion": text}. Raises UserError as above."""
    file = _File(source, revision, reading, "", ("text",))
    file.columns("text")
    return file.checked(lambda row, check: {"prompt": "", "completion": check.text(row, "text")})


def read_comparisons(
    source: str, revision: str | None = None, reading: ReadOptions | None = None
) -> list[Row]:
    """Rows {"prompt": messages, "chosen": messages, "rejected": messages}, each answer one message; with
    {"margin"}, how much better the chosen one is, {"confidence"}, the share of judgements that chose it, and
    {"tie"}, where a row or several rows together say so.

    Where there is no ``prompt``, ``chosen`` and ``rejected`` are whole conversations and what they share is
    the prompt. Rows about one pair are votes and become one row (``soft_labels``). Raises UserError as above,
    also where both answers are equal.
    """
    read = ("prompt", "chosen", "rejected", "margin", "confidence", "tie", "annotator")
    file = _File(source, revision, reading, "comparisons", read)
    texts = sum(isinstance(row.get("chosen"), str) for _, row in file.rows)
    split = file.has("prompt") or 2 * texts > len(file.rows)
    file.columns(*(["prompt", "chosen", "rejected"] if split else ["chosen", "rejected"]))

    def pair(row: Row, check: RowValidator) -> Row:
        asked = check.asked(row, "prompt") if split else []
        side = check.answer if split else check.conversation
        sides = {name: side(row, name, asked) for name in ("chosen", "rejected")}
        shared = sides["chosen"][:-1]
        if shared != sides["rejected"][:-1]:
            check.wrong(
                "rejected", "differs from chosen before the last answer, so there is no shared prompt"
            )
        both = {name: messages[-1:] for name, messages in sides.items()}
        if both["chosen"] == both["rejected"]:
            check.wrong("rejected", "is the same as chosen; delete the row, nothing can be learnt from it")
        checked: Row = {"prompt": [*asked, *shared], **both}
        if row.get("margin") is not None:
            checked["margin"] = check.amount(row, "margin")
        if row.get("confidence") is not None:
            checked["confidence"] = check.share(row, "confidence")
        if row.get("tie") is not None and check.truth(row, "tie"):
            checked["tie"] = True
        if row.get("annotator") is not None:
            checked["annotator"] = check.short(row, "annotator")
        return checked

    rows = file.checked(pair, same=pair_key)
    merged, contested = soft_labels(rows)
    if len(merged) < len(rows):
        file.notice(
            f"{len(rows)} judgements of {len(merged)} pairs: those of one pair are votes and become one row "
            f"with the share that chose the better answer ({contested} pairs were judged both ways)"
        )
    return merged


def read_ratings(source: str, revision: str | None = None, reading: ReadOptions | None = None) -> list[Row]:
    """Rows {"prompt": messages, "completion": messages, "label": bool}: answers that were wanted or not, each
    on its own. Raises UserError as above, also where a label is neither true nor false.
    """
    file = _File(source, revision, reading, "ratings", ("prompt", "completion", "label"))
    file.columns("prompt", "completion", "label")

    def rated(row: Row, check: RowValidator) -> Row:
        asked = check.asked(row, "prompt")
        messages = check.answer(row, "completion", asked)
        label = check.truth(row, "label")
        return {"prompt": [*asked, *messages[:-1]], "completion": messages[-1:], "label": label}

    return file.checked(rated)


class _File:
    """The rows of a source under examination, in standard columns."""

    def __init__(
        self, source: str, revision: str | None, reading: ReadOptions | None, kind: str, read: tuple[str, ...]
    ) -> None:
        self._source = source
        self._reading = reading or ReadOptions()
        skipped = self._reading.skipped
        self._stops = skipped is None
        self._problems = Problems(source) if skipped is None else skipped
        self._converted: tuple[str, ...] = ()
        self.rows = numbered_rows(source, revision, self._problems)
        self._rename()
        before = self._columns()
        self._standardise(kind, before)
        self._prepend_system()
        unread = sorted(before - {"id", *read, *self._converted, *SYSTEM, *self._reading.columns})
        if unread:
            self.notice(f"columns that are not read: {', '.join(unread)}")

    def notice(self, text: str) -> None:
        """Something that a user should know of the file."""
        self._reading.notices.append(f"{self._source}: {text}")

    def has(self, column: str) -> bool:
        return any(column in row for _, row in self.rows)

    def _columns(self) -> frozenset[str]:
        return frozenset(column for _, row in self.rows for column in row)

    def _rename(self) -> None:
        """Gives the user's columns their standard names. Raises UserError for a column that no row has."""
        names = self._reading.columns
        given = self._columns()
        for standard, column in names.items():
            if column not in given:
                raise UserError(
                    f"{self._source}: columns={standard}:{column}: no column {column}{nearest(column, given)}"
                )
        if names:
            taken = {column: standard for standard, column in names.items()}
            self.rows = [
                (number, {taken.get(name, name): value for name, value in row.items() if name not in names})
                for number, row in self.rows
            ]

    def _standardise(self, kind: str, columns: frozenset[str]) -> None:
        """Rows of a known schema in standard columns. A row that cannot be converted is a problem."""
        try:
            schema = recognised(kind, columns, self.rows[0][1]) if self.rows else None
        except UserError as problem:
            raise UserError(f"{self._source}: {problem}") from None
        if schema is None:
            return
        converted: list[tuple[int, Row]] = []
        for number, row in self.rows:
            try:
                converted += [(number, one) for one in schema.convert(row)]
            except UNREADABLE as problem:
                message = str(problem) if type(problem) is ValueError else f"cannot be read as {schema.name}"
                self._problems.add(f"row {number}", message)
        more = f", {len(converted)} of {len(self.rows)} rows" if len(converted) > len(self.rows) else ""
        self._converted = schema.columns
        self.rows = converted
        self.notice(f"read as {schema.name}{more}")

    def _prepend_system(self) -> None:
        name = next((name for name in SYSTEM if self.has(name)), "")
        if not name:
            return
        for _, row in self.rows:
            for column in ("messages", "prompt", *(() if "prompt" in row else ("chosen", "rejected"))):
                if column in row:
                    row[column] = with_system(row[column], row.get(name))
        self.notice(f"the column {name} begins each conversation as its system message")

    def columns(self, *wanted: str) -> None:
        """A column that no row has is one mistake, not one a row."""
        present = self._columns()
        for column in wanted if self.rows else ():
            if column not in present:
                raise UserError(
                    f"{self._source}: no column {column}{nearest(column, present)}; if another column holds "
                    f"it, say so: columns={column}:NAME of the stage, such as labels.columns={column}:NAME"
                )

    def checked(
        self, use: Callable[[Row, RowValidator], Row], same: Callable[[Row], str] | None = None
    ) -> list[Row]:
        """Every validated row with its id, or all problems together. An id is of one row, or one ``same``."""
        check = RowValidator(self._problems, *self.rows[:1])
        made: list[Row] = []
        ids: dict[str, tuple[int, str]] = {}
        for number, row in self.rows:
            check.where = f"row {number}"
            name = None if row.get("id") is None else str(row["id"])
            try:
                checked = use(row, check)
                value = same(checked) if same and name is not None else str(number)
                if name is not None and ids.setdefault(name, (number, value))[1] != value:
                    check.wrong("id", f"{shown(row['id'])} is also that of row {ids[name][0]}, expected once")
            except BadRow:
                continue
            made.append(checked if name is None else {"id": name, **checked})
        if self._stops or not made:
            good = f"{len(made)} rows are good; --skip-bad goes on with those"
            self._problems.stop_if_any(good if made else "")
        return made
