"""What the tests know of each method, by the name of its file."""

from __future__ import annotations

from tests.contract.by_hand import Entry
from tests.contract.direct_alignment import ENTRIES as DIRECT
from tests.contract.policy_gradients import ENTRIES as POLICY
from tests.contract.reward_losses import ENTRIES as REWARD

ENTRIES: dict[str, Entry] = POLICY | DIRECT | REWARD
