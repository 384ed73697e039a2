"""Rows of tokens as records: whose steps, which decision, which group, paid where."""

from __future__ import annotations

import pytest
import torch

from posttrain.models.collate import rollouts
from posttrain.storage.token_rows import TokenRow

# two turns of the assistant; then one
TALK = TokenRow(
    ids=[1, 5, 6, 7, 8, 9, 10],
    mask=[False, False, True, True, False, False, True],
    logprobs=[-0.5, -0.25, -2.0],
    reward=3.0,
)
SHORT = TokenRow(ids=[1, 5, 6, 7], mask=[False, False, True, True], logprobs=[-1.0, -4.0], reward=2.0)


@pytest.mark.parametrize("left", [False, True])
def test_every_fact_stands_at_the_step_that_it_is_of(left: bool) -> None:
    made = rollouts([TALK, SHORT], 0, left=left)
    for i, row in enumerate((TALK, SHORT)):
        at = made.action_mask[i]
        assert made.actions[i][at].tolist() == [t for t, own in zip(row.ids, row.mask, strict=True) if own]
        assert made.logprobs[i][at].tolist() == row.logprobs
        assert made.logprobs[i][~at].isnan().all()
        assert made.rewards[i].nonzero()[:, 0].tolist() == at.nonzero()[-1].tolist()
        assert float(made.rewards[i].sum()) == row.reward
        assert made.context["tokens"][i][made.context["attention_mask"][i]].tolist() == row.ids


def test_each_turn_of_a_conversation_is_a_decision() -> None:
    made = rollouts([TALK, SHORT], 0)
    assert made.turn[0][made.action_mask[0]].tolist() == [0, 0, 1]
    assert made.turn[1][made.action_mask[1]].tolist() == [0, 0]


def test_a_row_without_a_group_is_one_of_its_own() -> None:
    from dataclasses import replace

    rows = [replace(SHORT, group=group) for group in (4, -1, 0, -1, 4)]
    group = rollouts(rows, 0).group
    assert group[0] == group[4] == 4
    assert group[2] == 0
    assert len(torch.unique(group)) == 4
