"""Every file of policy_gradients/, direct_alignment/ and reward_losses/ keeps every rule."""

from __future__ import annotations

import pytest

from tests.contract.formulas import ENTRIES
from tests.contract.found import Found, methods
from tests.contract.rules import RULES

FOUND = methods()


def test_every_method_has_a_formula_of_its_own_in_the_tests() -> None:
    missing = [str(found) for found in FOUND if found.name not in ENTRIES]
    assert not missing, f"write their formulas once more in tests/contract/: {', '.join(missing)}"
    assert set(ENTRIES) <= {found.name for found in FOUND}, "an entry without a file"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("found", [found for found in FOUND if found.name in ENTRIES], ids=str)
def test_it_keeps_the_rule(found: Found, rule: object) -> None:
    rule(found, ENTRIES[found.name])  # type: ignore[operator]
