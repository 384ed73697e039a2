"""A picture of a run in its models' own words: prompts drawn by lot, the answer before and the answer
after.

``python -m posttrain.report.before_after RUN OUT.svg``: RUN is a directory under ``WORKSPACE/runs`` whose
evaluation kept samples of the models ``sft`` and ``final``. Nobody chooses the prompts: their order is a
hash of the seed, and families take turns.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from posttrain.pipeline.finding import UserError
from posttrain.report import story, svg
from posttrain.report.picture import css, draw_run, titled
from posttrain.report.record import RunRecord
from posttrain.report.samples import answers, chosen, prompt_text
from posttrain.report.scale import percent
from posttrain.report.titles import plain

ROWS = 6
_MODELS = ("sft", "final")
_MARGIN, _GAP, _LINE, _SIZE = 20.0, 24.0, 16.0, 12.0
_WIDTHS = (230.0, 330.0, 330.0)


def before_after(run: RunRecord, rows: int = ROWS) -> str:
    """The SVG as text. Raises UserError where the run kept no answers of both models."""
    stage = next((s for s in reversed(run.stages) if s.samples), None)
    samples = [row for row in (stage.samples if stage else []) if set(_MODELS) <= answers(row).keys()]
    if stage is None or not samples:
        raise UserError(
            f"{run.directory}: its evaluation kept no answers of {' and '.join(_MODELS)} to the same "
            "prompts, so nothing can stand side by side; run a recipe that ends in an evaluation, such as "
            "instructgpt"
        )
    parts, y = [titled(run, _MARGIN)], _MARGIN + 40
    columns = [_MARGIN + sum(_WIDTHS[:at]) + at * _GAP for at in range(3)]
    heads = (
        "asked",
        *(f"{when}: {plain(name)}" for when, name in zip(("before", "after"), _MODELS, strict=True)),
    )
    parts += [svg.text(x, y, head, class_="title") for x, head in zip(columns, heads, strict=True)]
    width = columns[-1] + _WIDTHS[-1] + _MARGIN
    for row in chosen(samples, stage.seed if stage.seed is not None else 0, rows):
        y += 12
        parts.append(svg.line((_MARGIN, y), (width - _MARGIN, y), "grid"))
        cells = [_asked(row), *(_answer(answers(row)[name]) for name in _MODELS)]
        for x, room, (text, note) in zip(columns, _WIDTHS, cells, strict=True):
            parts += _cell(x, y, _wrapped(text, room), note)
        y += _LINE * max(
            len(_wrapped(text, room)) + bool(note) for room, (text, note) in zip(_WIDTHS, cells, strict=True)
        )
    y += 14
    for sentence in _lines(run, width - 2 * _MARGIN):
        y += _LINE
        parts.append(svg.text(_MARGIN, y, sentence, class_="label"))
    paper = svg.tag("rect", width=width, height="100%", class_="paper")
    label = "; ".join(_asked(row)[0] for row in chosen(samples, stage.seed or 0, rows))
    return svg.drawing(width, y + 16, [svg.tag("style", css()), paper, *parts], label) + "\n"


def _asked(row: Mapping[str, Any]) -> tuple[str, str]:
    """What the user says, without the message that every prompt shares."""
    prompt = row.get("prompt")
    if isinstance(prompt, list) and prompt and isinstance(prompt[-1], Mapping):
        return str(prompt[-1].get("content", "")), ""
    return prompt_text(row), ""


def _answer(answer: Any) -> tuple[str, str]:
    if isinstance(answer, str):
        return answer, ""
    text, gold = str(answer.get("text", "")), answer.get("gold")
    cut = "" if answer.get("ended", True) else " […]"
    has_gold = isinstance(gold, int | float) and abs(gold) < 1e100
    return text + cut, f"gold {percent(float(gold), 0)}" if has_gold else ""


def _cell(x: float, y: float, lines: Sequence[str], note: str) -> Iterator[str]:
    for number, words in enumerate(lines, start=1):
        yield svg.text(x, y + number * _LINE, words, class_="label")
    if note:
        yield svg.text(x, y + (len(lines) + 1) * _LINE, note, class_="note")


def _wrapped(text: str, room: float) -> list[str]:
    """Lines that fit into ``room`` pixels; a text's own line breaks stay."""
    lines: list[str] = []
    for paragraph in text.strip().splitlines() or [""]:
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and svg.width_of(longer, _SIZE) > room:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines


def _lines(run: RunRecord, room: float) -> list[str]:
    """What the metrics allow to be said."""
    return [line for sentence in story.verdict(run)[:2] for line in _wrapped(sentence, room)]


def main(arguments: list[str]) -> int:
    """Exit code 0, or 2 after a sentence where the user can mend something."""
    return draw_run(before_after, "before_after", arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
