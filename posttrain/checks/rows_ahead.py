"""What the rows that a stage will read say of it, before anything is trained: do they fit into the model's
context, is there something to learn in each, is the end of answers learned, is there something to measure
with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.stage import Stage

LOOKED_AT = 200  # rows whose tokens are looked at; all of them only where some might not fit
Tokens = tuple[list[int], list[bool], bool]  # ids, what is learned, whether it should end with a stop token


def demonstration(chat: Any, row: Mapping[str, Any]) -> Iterator[Tokens]:
    from posttrain.rollouts.encode import example

    talks = "messages" in row and row["messages"][-1]["role"] == "assistant"
    yield (*example(chat, row), talks)


def comparison(chat: Any, row: Mapping[str, Any]) -> Iterator[Tokens]:
    """Both answers, or the one that was rated alone."""
    from posttrain.rollouts.encode import encode_answer

    for name in ("chosen", "rejected") if "chosen" in row else ("completion",):
        ended = bool(row.get(f"{name}_ended", True))
        answer = encode_answer(chat, row["prompt"], row[name], ended)
        yield list(answer.ids), list(answer.mask), ended


@dataclass
class _Seen:
    """Of the rows of one side."""

    rows: int = 0
    beyond: int = 0  # of those that the stage would read, longer than the context
    first: int = 0  # the first of them
    longest: int = 0
    shortest: int = 1 << 62
    silent: list[int] = field(default_factory=list)
    ends: int = 0
    ended: int = 0
    doubled: list[int] = field(default_factory=list)  # rows that begin twice


def rows(
    stage: Any,
    model: Path | None,
    source: Path,
    read: Callable[[Any, Mapping[str, Any]], Iterator[Tokens]],
) -> list[Finding]:
    """Of ``train.jsonl`` and ``heldout.jsonl`` in ``source``, which ``stage`` reads up to its ``max_length``
    with a model that grew from ``model``. Raises UserError naming the row that a chat template cannot say.
    """
    from posttrain.models.positions import context_at

    if model is None:
        return []
    context = context_at(model)
    setting = f"{stage.name or stage.address}.max_length"
    train, held = (_seen(stage, model, source, side, context, read) for side in ("train", "heldout"))
    findings = []
    if train.rows and train.shortest > stage.max_length:
        evidence = f"none of {train.rows} rows to learn from fits into {setting}={stage.max_length}; the "
        evidence += f"shortest has {train.shortest} tokens"
        findings.append(
            failed("some_rows_fit", train.shortest, stage.max_length, evidence, f"raise {setting}")
        )
    if beyond := train.beyond + held.beyond:
        side = "train" if train.beyond else "heldout"
        evidence = f"{setting} is {stage.max_length}, the model has {context} positions, and {beyond} of "
        evidence += f"{train.rows + held.rows} rows are longer ({train.beyond} to learn from, {held.beyond} "
        evidence += f"held out; the longest has {max(train.longest, held.longest)} tokens, the first is row "
        evidence += f"{(train if train.beyond else held).first} of {side}.jsonl)"
        advice = f"set {setting}={context}, which leaves them out and counts them, or shorten them"
        findings.append(failed("rows_fit_the_context", stage.max_length, context, evidence, advice))
    if train.silent:
        evidence = (
            f"{len(train.silent)} of the first {min(train.rows, LOOKED_AT)} rows have no token that is "
        )
        evidence += f"learned; the first is row {train.silent[0]} of train.jsonl"
        advice = "give rows whose last message is the assistant's and is not empty"
        findings.append(failed("every_row_teaches", len(train.silent), 0, evidence, advice))
    if train.doubled:
        evidence = f"{len(train.doubled)} of the first {min(train.rows, LOOKED_AT)} rows begin with two BOS "
        evidence += f"tokens; the first is row {train.doubled[0]} of train.jsonl"
        advice = "let either the chat template or the tokenizer write the BOS, and no row hold its text"
        findings.append(failed("one_bos", len(train.doubled), 0, evidence, advice))
    if train.ends and not train.ended:
        evidence = f"in none of {train.ends} answers the token that ends it is learned"
        advice = "let the chat template end the assistant's turn with the tokenizer's EOS or a special token"
        findings.append(failed("the_end_is_learned", 0, train.ends, evidence, advice))
    return findings


def _seen(
    stage: Any, model: Path, source: Path, side: str, context: int, read: Callable[..., Iterator[Tokens]]
) -> _Seen:
    from posttrain.models.chat import Chat
    from posttrain.models.loading import load_tokenizer
    from posttrain.storage.jsonl import stream_jsonl

    chat, summary = Chat(load_tokenizer(model)), _Seen()
    for number, row in enumerate(stream_jsonl(source / f"{side}.jsonl"), start=1):
        if number > LOOKED_AT and stage.max_length <= context and summary.shortest <= stage.max_length:
            break
        try:
            answers = list(read(chat, row))
        except UserError as error:
            raise UserError(f"{source / side}.jsonl, row {number}: {error}") from None
        summary.rows += 1
        length = max(len(ids) for ids, _, _ in answers)
        summary.longest, summary.shortest = max(summary.longest, length), min(summary.shortest, length)
        if context < length <= stage.max_length:
            summary.beyond, summary.first = summary.beyond + 1, summary.first or number
        if number <= LOOKED_AT:
            if not all(any(mask) for _, mask, _ in answers):
                summary.silent.append(number)
            bos = chat.tokenizer.bos_token_id
            if bos is not None and any(ids[:2] == [bos, bos] for ids, _, _ in answers):
                summary.doubled.append(number)
            for ids, mask, ends in answers:
                learned = {token for token, learns in zip(ids, mask, strict=True) if learns}
                summary.ends, summary.ended = (
                    summary.ends + ends,
                    summary.ended + (ends and not learned.isdisjoint(chat.stop_ids)),
                )
    return summary


def prompts(stage: Any, model: Path | None, source: Path, side: str) -> list[Finding]:
    """Whether there is a prompt in that file that leaves room for an answer of the stage."""
    from posttrain.models.chat import Chat
    from posttrain.models.loading import load_tokenizer
    from posttrain.models.positions import context_at
    from posttrain.storage.jsonl import stream_jsonl

    file = source / f"{side}.jsonl"
    name, answer = stage.name or stage.address, stage.max_completion_length
    chat: Any = None
    count, shortest = 0, 1 << 62
    for row in stream_jsonl(file):
        if model is None:
            return []
        chat = chat or Chat(load_tokenizer(model))
        asked = row["prompt"]
        length = len(chat.text_ids(asked) if isinstance(asked, str) else chat.prompt_ids(asked))
        if length + answer <= context_at(model):
            return []
        count, shortest = count + 1, min(shortest, length)
    if not count:
        evidence = f"{file} has no row, and {name} {'measures' if side == 'heldout' else 'learns'} on them"
        advice = "give more rows, or prompts=FILE, of which a part is held out"
        return [failed("prompts_are_there", 0, 1, evidence, advice)]
    assert model is not None
    evidence = (
        f"none of {count} prompts leaves room for {name}.max_completion_length={answer}: the shortest has "
    )
    evidence += f"{shortest} tokens, the model {context_at(model)} positions"
    advice = f"set {name}.max_completion_length lower, or shorten the prompts"
    return [failed("prompts_fit_the_context", shortest + answer, context_at(model), evidence, advice)]


def vocabularies(model: Path | None, others: Mapping[str, Path]) -> list[Finding]:
    """Whether models that read the policy's tokens have its vocabulary; ``others`` by the setting that names
    them.
    """
    from posttrain.models.loading import load_tokenizer

    if model is None or not others:
        return []
    vocabulary, findings = load_tokenizer(model).get_vocab(), []
    for name, path in others.items():
        if (theirs := load_tokenizer(path).get_vocab()) != vocabulary:
            evidence = f"{name} ({path}) has a vocabulary of {len(theirs)} tokens that is not the policy's "
            evidence += f"({len(vocabulary)} tokens), and reads the policy's tokens"
            advice = f"give a {name} made from the same base"
            findings.append(failed("one_vocabulary", len(theirs), len(vocabulary), evidence, advice))
    return findings


def both_sides(stage: Stage, source: Path) -> list[Finding]:
    """Whether there are rows to learn from and rows to measure with."""
    from posttrain.storage.jsonl import stream_jsonl

    findings = []
    for side, other in (("train", "heldout"), ("heldout", "train")):
        if next(stream_jsonl(source / f"{side}.jsonl"), None) is None:
            count = sum(1 for _ in stream_jsonl(source / f"{other}.jsonl"))
            evidence = f"the {side} rows hold no prompt; there are {count} {other} rows"
            findings.append(
                failed("both_sides", 0, 1, evidence, "give prompts=FILE, or more rows: 8 are usually enough")
            )
    return findings


def failed(name: str, value: float, threshold: float, evidence: str, advice: str) -> Finding:
    """A finding of rows that do not do."""
    return Finding(
        name=name,
        value=float(value),
        threshold=float(threshold),
        passed=False,
        evidence=evidence,
        advice=advice,
    )
