"""Comparisons in the schemas of published preference sets, turned into prompt, chosen, rejected.

One row may hold several answers with ranks or scores: then every two of them that differ are a comparison.
A verdict that neither answer is better is a row with ``tie``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import combinations
from typing import Any

from posttrain.data.transcripts import joined, message, messages, prompt_messages, transcript
from posttrain.pipeline.files import parsed
from posttrain.pipeline.finding import UserError

Row = dict[str, Any]
Converted = tuple[str, tuple[str, ...], Callable[[Row], Iterable[Row]]]

QUESTIONS = ("prompt", "question", "problem", "query", "instruction", "input", "history", "context")
# columns of two answers, and those of who won
PAIRS = (
    ("chosen_response", "rejected_response"),
    ("preferred_output", "non_preferred_output"),
    ("preferred", "rejected"),
    ("better", "worse"),
)
SIDES = (
    ("response_0", "response_1"),
    ("response_1", "response_2"),
    ("response1", "response2"),
    ("response_a", "response_b"),
    ("answer_0", "answer_1"),
    ("answer_a", "answer_b"),
    ("output_1", "output_2"),
    ("completion_a", "completion_b"),
    ("human_ref_A", "human_ref_B"),
    ("conversation_a", "conversation_b"),
)
VERDICTS = (
    "better_response_id",
    "overall_preference",
    "preference",
    "winner",
    "choice",
    "label",
    "labels",
    "preferred",
    "winner_model_a",
    "score_0",
)
_COMPANIONS = {"winner_model_a": ("winner_model_b", "winner_tie"), "score_0": ("score_1",)}
FIRST = {"a", "model_a", "model a", "response_a", "answer_a", "first", "left"}
SECOND = {"b", "model_b", "model b", "response_b", "answer_b", "second", "right"}
RANKED = ("answers", "completions", "responses", "generations")


def pair_format(columns: frozenset[str], row: Row) -> Converted | None:
    """Name, columns and converter of the schema; None for the standard columns or one that is not known.

    Raises UserError for rows that are no comparisons, with what to give instead.
    """
    question = next((name for name in QUESTIONS if name in columns), "")
    if {"chosen", "rejected"} <= columns:
        return _chosen(columns, row, question)
    named = next((pair for pair in PAIRS if set(pair) <= columns), None)
    if named:
        better, worse = named
        return (
            f"{question} as prompt, {better} as chosen, {worse} as rejected",
            (question, better, worse),
            lambda row: (_pair(row, question, row.get(better), row.get(worse)),),
        )
    verdict, sides = _verdict(columns)
    if sides:
        return (
            f"{sides[0]} and {sides[1]} compared by {verdict}",
            (question, *sides, verdict, *_COMPANIONS.get(verdict, ())),
            lambda row: (_judged(row, question, sides, verdict),),
        )
    if "summaries" in columns and "choice" in columns:
        return "summaries compared by choice", ("info", "summaries", "choice"), _summaries
    ranked = next((name for name in RANKED if isinstance(row.get(name), list)), "")
    if question and ranked and _scores(row, ranked) is not None:
        return (
            f"{question} as prompt, every two {ranked} of different rank or score",
            (question, ranked, "ratings", "scores", "ranks"),
            lambda row: _every_two(row, question, ranked),
        )
    if {"completion", "label"} <= columns:
        raise UserError("these are ratings of single answers; give them as ratings=FILE")
    if {"completions", "labels"} <= columns:
        raise UserError("these are labels of reasoning steps, not comparisons of whole answers")
    if "messages" in columns or {"prompt", "completion"} <= columns:
        raise UserError("these are demonstrations; give them as demonstrations=FILE")
    return None


def _verdict(columns: frozenset[str]) -> tuple[str, tuple[str, ...]]:
    """The column of the verdict and those of the two answers; empty where there are none."""
    for sides in SIDES:
        verdict = next((name for name in VERDICTS if name in columns and name not in sides), "")
        if verdict and set(sides) <= columns:
            return verdict, sides
    return "", ()


def _chosen(columns: frozenset[str], row: Row, question: str) -> Converted | None:
    """``chosen`` and ``rejected`` are there; what is their form, and where is the prompt?"""
    conversation = next((name for name in ("conversations", "messages") if name in columns), "")
    if "prompt" not in columns and isinstance(row.get("chosen"), Mapping) and conversation:
        read = (conversation, "chosen", "rejected")
        return (
            f"{conversation} as prompt, one message as chosen and one as rejected",
            read,
            lambda row: ({**_sides(row), "prompt": messages(row.get(conversation))},),
        )
    if transcript(row.get("chosen")):
        name = "transcripts (Human:, Assistant:) in chosen and rejected"
        return (
            name,
            ("chosen", "rejected"),
            lambda row: (
                {
                    **row,
                    **{side: transcript(row.get(side)) or row.get(side) for side in ("chosen", "rejected")},
                },
            ),
        )
    if "prompt" in columns:
        if transcript(row.get("prompt")):
            name = "a transcript (Human:, Assistant:) as prompt"
            return name, ("prompt",), lambda row: ({**row, "prompt": prompt_messages(row.get("prompt"))},)
        foreign = any(isinstance(row.get(side), Mapping) for side in ("chosen", "rejected"))
        return (
            ("one message as chosen and one as rejected", (), lambda row: (_sides(row),)) if foreign else None
        )
    if question and isinstance(row.get("chosen"), str | Mapping):
        more = "input" if question == "instruction" and "input" in columns else ""
        name = f"{question} as prompt"
        return (
            name,
            (question, more),
            lambda row: ({**_sides(row), "prompt": joined(row.get(question), row.get(more))},),
        )
    shared = isinstance(row.get("chosen"), list) and any("from" in turn for turn in row["chosen"] if turn)
    return ("conversations in ShareGPT's columns", (), lambda row: (_sides(row),)) if shared else None


def _sides(row: Row) -> Row:
    """The row with both answers as messages where they are turns of another form."""
    made = dict(row)
    for side in ("chosen", "rejected"):
        value = row.get(side)
        made[side] = [message(value)] if isinstance(value, Mapping) else messages(value)
    return made


def _prompt(row: Row, question: str) -> Any:
    """The prompt in the column of that name, also where it is wrapped in an object."""
    value = row.get(question)
    if isinstance(value, Mapping):
        value = next((value[name] for name in ("messages", "full_text", "text") if name in value), value)
    if question == "instruction":
        value = joined(value, row.get("input"))
    return prompt_messages(value)


def _pair(row: Row, question: str, chosen: Any, rejected: Any, tie: bool = False) -> Row:
    sides = _sides({"chosen": chosen, "rejected": rejected})
    made = {**row, **sides, **({"tie": True} if tie else {})}
    return {**made, "prompt": _prompt(row, question)} if question else made


def _judged(row: Row, question: str, sides: tuple[str, ...], verdict: str) -> Row:
    """The pair with the winner first. Raises ValueError for a verdict that is not understood."""
    asked = dict(row)
    first, second = (_listed(row.get(side)) for side in sides)
    if question and isinstance(listed := _listed(row.get(question)), list):
        asked[question] = listed
        if all(isinstance(value, list) and len(value) == 1 for value in (listed, first, second)):
            asked[question], first, second = listed[0], first[0], second[0]  # a conversation of one turn
    won = _winner(row, verdict, sides)
    chosen, rejected = (second, first) if won == "b" else (first, second)
    return _pair(asked, question, chosen, rejected, tie=won == "tie")


def _listed(value: Any) -> Any:
    """A list that is stored as JSON text, as the list."""
    if isinstance(value, str) and value.startswith("["):
        try:
            return parsed(value)
        except ValueError:
            return value
    return value


def _winner(row: Row, verdict: str, sides: tuple[str, ...]) -> str:
    """``a``, ``b`` or ``tie``. Raises ValueError where the verdict is not understood."""
    value = row.get(verdict)
    if verdict == "winner_model_a":
        first, second = (
            str(row.get(f"winner_model_{side}")).lower() in ("1", "true", "1.0") for side in "ab"
        )
        return "tie" if first == second else "a" if first else "b"
    if verdict == "score_0":
        return _higher(value, row.get("score_1"), verdict)
    if verdict == "overall_preference":  # negative where the first answer is better
        return _higher(0, value, verdict)
    text = str(value).strip().lower()
    numbered = 1 if sides[0][-1] == "1" else 0
    # in Stanford Human Preferences 1 says that A is better; elsewhere a number counts the answers
    numbers = {"1": "a", "0": "b"} if verdict == "labels" else {str(numbered): "a", str(numbered + 1): "b"}
    if text in FIRST or text == sides[0].lower():
        return "a"
    if text in SECOND or text == sides[1].lower():
        return "b"
    if text.startswith("tie") or text in ("equal", "both", "neither"):
        return "tie"
    if text in numbers:
        return numbers[text]
    raise ValueError(f"{verdict} is {value!r}, expected a, b, tie or the name of an answer's column")


def _higher(first: Any, second: Any, column: str) -> str:
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in (first, second)):
        raise ValueError(f"{column} compares {first!r} with {second!r}, expected numbers")
    return "tie" if first == second else "a" if first > second else "b"


def _summaries(row: Row) -> Iterable[Row]:
    """OpenAI's comparisons of summaries: a post, two summaries and the number of the better one."""
    info, texts = row.get("info"), row.get("summaries")
    if not isinstance(info, Mapping) or not isinstance(texts, list) or len(texts) != 2:
        raise ValueError("expected info with a post, and two summaries")
    post = str(info.get("post") or info.get("article") or "")
    first, second = (text.get("text") if isinstance(text, Mapping) else text for text in texts)
    chosen, rejected = (second, first) if str(row.get("choice")) == "1" else (first, second)
    return ({"prompt": f"Summarise this.\n\n{post}", "chosen": chosen, "rejected": rejected},)


def _scores(row: Row, ranked: str) -> list[tuple[Any, float]] | None:
    """Answers with a number that is higher for the better one; None where there is none for each."""
    answers = row.get(ranked)
    numbers = next(
        (row[name] for name in ("ratings", "scores", "ranks") if isinstance(row.get(name), list)), None
    )
    better = -1.0 if "ranks" in row and numbers is row["ranks"] else 1.0
    made: list[tuple[Any, float]] = []
    for number, answer in enumerate(answers if isinstance(answers, list) else ()):
        value = numbers[number] if numbers is not None and number < len(numbers) else None
        text, sign = answer, better
        if isinstance(answer, Mapping):
            text = next(
                (answer[name] for name in ("answer", "response", "content", "text") if name in answer), None
            )
            name = next((n for n in ("rank", "overall_score", "score", "rating") if n in answer), "")
            value, sign = answer.get(name), -1.0 if name == "rank" else 1.0
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        made.append((text, sign * value))
    return made if len(made) > 1 else None


def _every_two(row: Row, question: str, ranked: str) -> Iterator[Row]:
    """A comparison of every two answers that differ. Raises ValueError where one has no number."""
    scored = _scores(row, ranked)
    if scored is None:
        raise ValueError(f"{ranked} lacks a rank or a score for each of at least two answers")
    rest = {name: value for name, value in row.items() if name not in (ranked, "id")}
    for (first, a), (second, b) in combinations(scored, 2):
        if a != b and first != second:
            better, worse = (first, second) if a > b else (second, first)
            yield _pair(rest, question, better, worse)
