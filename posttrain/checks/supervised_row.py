"""One row of what a stage learns from, as its tokens read, with those that are learned marked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from posttrain.checks import rows_ahead
from posttrain.pipeline.stage import Stage, nested
from posttrain.pipeline.store import Product

READS: dict[str, Callable[[Any, Mapping[str, Any]], Iterator[rows_ahead.Tokens]]] = {
    "demonstrations": rows_ahead.demonstration,
    "comparisons": rows_ahead.comparison,
}
GREEN, PLAIN = ("\x1b[32m", "\x1b[0m"), ("[[", "]]")
LONGEST = 400  # characters of a part, above which its middle is left out


def first_row(stages: Mapping[str, Stage], products: Mapping[str, Product], colour: bool) -> str:
    """The first row of the first of the ``stages`` that learns from records, of the products that are there;
    empty where there is none.
    """
    names = {id(stage): address for address, stage in stages.items()}
    for address, stage in stages.items():
        address_of = {path: names[id(child)] for path, child in nested(stage)}
        model = next((address_of[name] for name in ("base", "policy") if name in address_of), "")
        for name, read in READS.items():
            source = address_of.get(name, "")
            if source in products and model in products:
                return _told(address, source, products[model].path, products[source].path, read, colour)
    return ""


def _told(
    address: str, source: str, model: Path, rows: Path, read: Callable[..., Iterator[Any]], colour: bool
) -> str:
    from posttrain.models.chat import Chat
    from posttrain.models.loading import load_tokenizer
    from posttrain.storage.jsonl import stream_jsonl

    chat = Chat(load_tokenizer(model))
    for row in islice(stream_jsonl(rows / "train.jsonl"), 1):
        ids, mask, _ = next(read(chat, row))
        how = "green" if colour else " ".join(PLAIN)
        head = (
            f"row 1 of {source}, as {address} reads it; it learns {sum(mask)} of {len(ids)} tokens, in {how}:"
        )
        return f"{head}\n  {marked(chat.tokenizer, ids, mask, GREEN if colour else PLAIN)}"
    return ""


def marked(tokenizer: Any, ids: Sequence[int], mask: Sequence[bool], marks: tuple[str, str]) -> str:
    """The tokens on one line, each run of those under ``mask`` between the ``marks``. What a terminal would
    obey or break a line at is written as Python writes it.
    """
    parts, done = [], 0
    for learned, run in groupby(mask):
        count = len(list(run))
        text = "".join(map(_shown, tokenizer.decode(ids[done : done + count])))
        if len(text) > LONGEST:
            text = f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
        parts.append(f"{marks[0]}{text}{marks[1]}" if learned else text)
        done += count
    return "".join(parts)


def _shown(character: str) -> str:
    return character if character.isprintable() else repr(character)[1:-1]
