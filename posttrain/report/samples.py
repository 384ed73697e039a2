"""The same prompts answered by each model, side by side; which prompts, a hash of the seed decides."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from posttrain.report.scale import number, percent
from posttrain.report.svg import tag
from posttrain.report.titles import plain

_ABOUT = {
    "prompt",
    "messages",
    "family",
    "item",
    "id",
    "place",
    "index",
    "answers",
    "responses",
    "kind",
    "split",
}
_SHARES = ("gold",)  # facts of an answer that are shares
_LONGEST = 1200  # characters of an answer


def prompt_text(row: Mapping[str, Any]) -> str:
    """The prompt as a person would read it: text, or the turns of a conversation."""
    prompt = row.get("prompt", row.get("messages", ""))
    if isinstance(prompt, Mapping):
        prompt = prompt.get("messages", prompt.get("prompt", prompt.get("text", "")))
    if isinstance(prompt, str):
        return prompt
    turns = [turn for turn in prompt if isinstance(turn, Mapping)] if isinstance(prompt, list) else []
    if len(turns) == 1:
        return str(turns[0].get("content", ""))
    return "\n".join(f"{turn.get('role', '')}: {turn.get('content', '')}" for turn in turns)


def family(row: Mapping[str, Any]) -> str:
    item = row.get("item")
    return str(row.get("family") or (item.get("family") if isinstance(item, Mapping) else "") or "")


def answers(row: Mapping[str, Any]) -> dict[str, Any]:
    """Model to its answer: under ``answers`` (or ``responses``), else every other text field of the row."""
    by_model = row.get("answers", row.get("responses"))
    if isinstance(by_model, Mapping):
        return {str(k): v for k, v in by_model.items() if isinstance(v, str | Mapping)}
    return {k: v for k, v in row.items() if k not in _ABOUT and isinstance(v, str | Mapping)}


def chosen(rows: Sequence[Mapping[str, Any]], seed: object, count: int) -> list[Mapping[str, Any]]:
    """``count`` rows, going round the families; inside each in the order of sha256(seed, prompt)."""

    def draw(row: Mapping[str, Any]) -> str:
        return hashlib.sha256(f"{seed}\0{prompt_text(row)}".encode()).hexdigest()

    by_family: dict[str, list[Mapping[str, Any]]] = {}
    for row in sorted((row for row in rows if answers(row)), key=draw):
        by_family.setdefault(family(row), []).append(row)
    kinds, taken = sorted(by_family), []
    for turn in range(max(map(len, by_family.values()), default=0)):
        taken += [by_family[kind][turn] for kind in kinds if turn < len(by_family[kind])]
    return taken[:count]


def table(rows: Sequence[Mapping[str, Any]], seed: object, count: int = 12, at_most: int = 60) -> str:
    """``count`` prompts as a table, one column a model, and others up to ``at_most`` behind a click."""
    picked = chosen(rows, seed, at_most)
    if not picked:
        return ""
    more = picked[count:]
    html = _table(picked[:count])
    if more:
        html += tag("details", tag("summary", f"{len(more)} more prompts") + _table(more))
    note = f"Prompts in an order drawn by a hash of the seed ({escape(str(seed))}), not by hand" + (
        "; families take turns." if any(family(row) for row in picked) else "."
    )
    keys = {
        key
        for row in picked
        for answer in answers(row).values()
        if isinstance(answer, dict)
        for key in answer
    }
    if {"gold", "reward"} <= keys:
        note += " Below an answer: the reward model's score, on its own scale, and gold, a share of what the"
        note += " prompt can earn."
    return tag("p", note, class_="caption") + html


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    models = list(dict.fromkeys(name for row in rows for name in answers(row)))
    head = "".join(tag("th", escape(plain(name)), scope="col") for name in ("prompt", *models))
    body = "".join(tag("tr", _prompt(row) + "".join(_answer(row, name) for name in models)) for row in rows)
    wide = tag("table", tag("thead", tag("tr", head)) + tag("tbody", body))
    return tag("div", wide, class_="samples")


def _prompt(row: Mapping[str, Any]) -> str:
    kind = family(row)
    label = tag("span", escape(kind.replace("_", " ")), class_="meta") if kind else ""
    return tag("th", tag("div", _text(prompt_text(row)), class_="said") + label, scope="row")


def _answer(row: Mapping[str, Any], model: str) -> str:
    answer = answers(row).get(model)
    who = plain(model)  # where the columns are stacked, each answer says whose it is
    if answer is None:
        return tag("td", tag("span", "no answer", class_="meta"), data_model=who)
    if isinstance(answer, str):
        return tag("td", tag("div", _text(answer), class_="said"), data_model=who)
    text = next((answer[k] for k in ("text", "response", "completion", "content") if k in answer), "")
    facts = [_fact(name, value) for name, value in answer.items() if _is_number(value)]
    ended = answer.get("ended")
    if ended is False:
        facts.append("cut off")
    meta = tag("span", escape(" · ".join(fact for fact in facts if fact)), class_="meta") if facts else ""
    return tag("td", tag("div", _text(str(text)), class_="said") + meta, data_model=who)


def _fact(name: str, value: float) -> str:
    written = percent(value, 0) if name in _SHARES else number(value, 2)
    return f"{name.replace('_', ' ')} {written}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e100


def _text(words: str) -> str:
    if not words.strip():
        return tag("span", "(empty)", class_="meta")
    words = words.strip()  # a base model's answer begins with the space before its first word
    return escape(words if len(words) <= _LONGEST else words[:_LONGEST] + " […]")
