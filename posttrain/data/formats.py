"""Rows in the schemas of published data sets, turned into the columns of the TRL dataset formats.

A format is recognised by the columns of a file and by its first row, never by its name. A converter passes
on a value of an unexpected type as it is, so that validation names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from posttrain.data.ifeval import checks_of
from posttrain.data.pair_formats import pair_format
from posttrain.data.transcripts import RENDERED, joined, messages, transcript, without_last_answer
from posttrain.pipeline.finding import UserError

Row = dict[str, Any]

CONVERSATIONS = ("conversations", "conversation", "dialogue", "dialog", "turns")
QUESTIONS = ("prompt", "question", "problem", "query", "instruction", "inputs", "input")
ANSWERS = ("completion", "response", "output", "answer", "solution", "targets", "target")
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, OverflowError)  # of a row of another form
LABELS = ("label", "answer", "tests", "cases", "checks")


@dataclass(frozen=True)
class RowFormat:
    """``convert`` gives the rows in standard columns that one row of the file stands for; ``columns`` are
    those that it reads.
    """

    name: str
    columns: tuple[str, ...]
    convert: Callable[[Row], Iterable[Row]]


def _one(name: str, columns: Iterable[str], convert: Callable[[Row], Row]) -> RowFormat:
    return RowFormat(name, tuple(columns), lambda row: (convert(row),))


def _first(names: Iterable[str], columns: frozenset[str]) -> str:
    return next((name for name in names if name in columns), "")


def demonstrations(columns: frozenset[str], row: Row) -> RowFormat | None:
    """Raises UserError for rows that are no demonstrations, with what to give instead."""
    if "messages" in columns or {"prompt", "completion"} <= columns:
        return None
    if name := _first(CONVERSATIONS, columns):
        return _one(
            f"conversations in {name}", (name,), lambda row: {**row, "messages": messages(row.get(name))}
        )
    question, answer = _first(QUESTIONS, columns), _first(ANSWERS, columns)
    if question and answer and question != answer:
        more = _first(("input", "context"), columns) if question == "instruction" else ""
        about = f" after {more}" if more else ""
        return _one(
            f"{question}{about} as prompt, {answer} as completion",
            (question, answer, more),
            lambda row: {
                **row,
                "prompt": joined(row.get(question), row.get(more)),
                "completion": row.get(answer),
            },
        )
    if "text" in columns:
        if transcript(row.get("text")):
            return _one(
                "transcripts (Human:, Assistant:) in text",
                ("text",),
                lambda row: {**row, "messages": transcript(row.get("text")) or row.get("text")},
            )
        if RENDERED.search(str(row.get("text"))):
            raise UserError(
                "column text holds a chat template already filled in; give the messages themselves, "
                "a list of {role, content}"
            )
        raise UserError(
            "column text holds no prompt and no answer; give messages, or prompt and completion "
            "(text as in pretraining is for text=FILE)"
        )
    if {"chosen", "rejected"} <= columns:
        raise UserError("these are comparisons; give them as comparisons=FILE")
    return None


def prompts(columns: frozenset[str], row: Row) -> RowFormat | None:
    """Prompts, and what a program can verify answers by."""
    if {"prompt", "instruction_id_list", "kwargs"} <= columns:
        return _one(
            "IFEval's instructions as checks",
            ("instruction_id_list", "kwargs"),
            lambda row: {**row, "checks": checks_of(row)},
        )
    if {"prompt", "entry_point", "test"} <= columns and not {"tests", "code_before"} & columns:
        return _one(
            "HumanEval's rows, prompt as code_before too, test as tests",
            ("entry_point", "test"),
            lambda row: {**row, "code_before": row.get("prompt"), "tests": row.get("test")},
        )
    if "prompt" in columns:
        graded = row.get("reward_model")
        if "answer" in columns or not isinstance(graded, Mapping) or "ground_truth" not in graded:
            return None
        return _one(
            "verl's rows, reward_model.ground_truth as answer",
            ("reward_model",),
            lambda row: {**row, "answer": _inner(row.get("reward_model"), "ground_truth")},
        )
    if "test_list" in columns and (name := _first(("text", *QUESTIONS), columns)):
        return _one(
            f"{name} as prompt, test_list as tests",
            (name, "test_list", "test_setup_code"),
            lambda row: {**row, "prompt": row.get(name), "tests": _program(row)},
        )
    if name := _first(("messages", *CONVERSATIONS), columns):
        return _one(
            f"the prompts of the conversations in {name}",
            (name,),
            lambda row: {**row, "prompt": without_last_answer(messages(row.get(name)))},
        )
    if name := _first(QUESTIONS, columns):
        more = _first(("input", "context"), columns) if name == "instruction" else ""
        solved = "" if set(LABELS) & columns else _first(("solution",), columns)
        return _one(
            f"{name} as prompt" + (f", {solved} as answer" if solved else ""),
            (name, more, solved),
            lambda row: {
                **row,
                "prompt": joined(row.get(name), row.get(more)),
                **({"answer": row.get(solved)} if solved else {}),
            },
        )
    return None


def ratings(columns: frozenset[str], row: Row) -> RowFormat | None:
    """Answers that are each rated on their own."""
    if {"prompt", "completion", "label"} <= columns:
        return None
    if {"chosen", "rejected"} <= columns:
        raise UserError("these are comparisons; give them as comparisons=FILE")
    if {"completions", "labels"} <= columns:
        raise UserError(
            "these are labels of reasoning steps; ratings are of whole answers: prompt, completion, label"
        )
    question, answer = _first(QUESTIONS, columns), _first(ANSWERS, columns)
    if question and answer and "label" in columns and question != answer:
        return _one(
            f"{question} as prompt, {answer} as completion",
            (question, answer),
            lambda row: {**row, "prompt": row.get(question), "completion": row.get(answer)},
        )
    return None


RECOGNISERS: dict[str, Callable[[frozenset[str], Row], RowFormat | None]] = {
    "demonstrations": demonstrations,
    "comparisons": lambda columns, row: RowFormat(*made) if (made := pair_format(columns, row)) else None,
    "prompts": prompts,
    "ratings": ratings,
}


def recognised(kind: str, columns: frozenset[str], row: Row) -> RowFormat | None:
    """The schema of a file's columns and first row; None for one that is not known, or a row so odd that its
    fields will tell. Raises UserError for rows of another kind, with what to give instead.
    """
    recognise = RECOGNISERS.get(kind)
    try:
        return recognise(columns, row) if recognise else None
    except UNREADABLE:
        return None


def _inner(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else value


def _program(row: Row) -> Any:
    lines = row.get("test_list")
    if not isinstance(lines, list):
        return lines
    return "\n".join(str(line) for line in (row.get("test_setup_code") or "", *lines) if str(line).strip())
