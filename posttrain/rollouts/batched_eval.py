"""What a model says of any number of rows, as many of them in memory as a micro-batch holds."""

from __future__ import annotations

from array import array
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from posttrain.core.batch import Policy, Rollouts, Wants
from posttrain.core.masked import wide, zero_outside
from posttrain.metrics import declare_metric
from posttrain.models.collate import rollouts
from posttrain.storage.chunks import NOT_KEPT, Chunks, in_chunks
from posttrain.storage.logprob_store import LogprobStore
from posttrain.storage.token_rows import TokenRow
from posttrain.training.update import cut_rows

NLL_HELDOUT = declare_metric(
    "nll_heldout",
    "Negative log-likelihood of held-out demonstrations after training.",
    unit="nats per token",
    better="down",
    title="held-out loss",
)

LOGPROBS = Wants(before=False, entropy=False)
ROWS = 512  # in a chunk of log-probabilities that is kept


def micro_batches(rows: Sequence[TokenRow], pad_id: int, micro_batch_tokens: int) -> Iterator[Rollouts]:
    """The rows in order, in the micro-batches that ``training.update.cut`` makes of all of them, so that a
    model's results have the same bits as in one batch.
    """
    for part in _parts(rows, micro_batch_tokens):
        yield rollouts([rows[index] for index in part], pad_id)


def _parts(rows: Sequence[TokenRow], micro_batch_tokens: int) -> list[range]:
    """The rows of each micro-batch."""
    first, end, group = (array("q") for _ in range(3))
    for index, row in enumerate(rows):
        steps = [at for at, chosen in enumerate(row.mask) if chosen]
        first.append(steps[0] - 1)
        end.append(steps[-1])
        group.append(row.group if row.group >= 0 else -1 - index)  # -1: a group of its own
    if not first:
        return []
    numbers = [torch.frombuffer(column, dtype=torch.long) for column in (first, end, group)]
    pieces = cut_rows(numbers[0], numbers[1], numbers[2], micro_batch_tokens)
    return [range(int(piece[0]), int(piece[-1]) + 1) for piece in pieces]


@torch.no_grad()
def logprobs(
    policy: Policy,
    rows: Sequence[TokenRow],
    pad_id: int,
    micro_batch_tokens: int,
    directory: Path,
    chunks: Chunks = NOT_KEPT,
) -> LogprobStore:
    """The log-probabilities of each row's chosen steps, stored under ``directory``, and kept in ``chunks`` as
    they are made.
    """
    parts = _parts(rows, micro_batch_tokens)
    pieces = _joined(parts, ROWS)

    def chunk(piece: range) -> list[str]:
        values = []
        for part in parts[piece.start : piece.stop]:
            batch = rollouts([rows[index] for index in part], pad_id)
            evaluated = policy.evaluate(batch, LOGPROBS).logprobs
            for row, mask in zip(evaluated, batch.action_mask, strict=True):
                values.append(b64encode(row[mask].float().cpu().numpy().tobytes()).decode())
        return values

    store = LogprobStore(directory)
    for some in in_chunks(chunks, pieces, chunk):
        for text in some:
            store.append(torch.frombuffer(bytearray(b64decode(text)), dtype=torch.float32))
    return store


def _joined(parts: Sequence[range], rows: int) -> list[range]:
    """Neighbouring micro-batches, by their numbers, until they have that many rows together."""
    pieces, start, count = [], 0, 0
    for number, part in enumerate(parts):
        count += len(part)
        if count >= rows or number == len(parts) - 1:
            pieces.append(range(start, number + 1))
            start, count = number + 1, 0
    return pieces


@torch.no_grad()
def nll(policy: Policy, rows: Sequence[TokenRow], pad_id: int, micro_batch_tokens: int) -> float:
    """Nats per chosen step; NaN without rows."""
    total, steps = 0.0, 0
    for part in micro_batches(rows, pad_id, micro_batch_tokens):
        logprobs = policy.evaluate(part, LOGPROBS).logprobs
        total -= float(wide(zero_outside(logprobs, part.action_mask)).sum())
        steps += int(part.action_mask.sum())
    return total / steps if steps else float("nan")
