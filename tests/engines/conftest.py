"""Every test of the engines by the path that is taken here; with the slow ones by all others too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernels.paths import CHOSEN, OTHERS, computed_by


@pytest.fixture(
    autouse=True, params=[CHOSEN, *(pytest.param(path, marks=pytest.mark.slow) for path in OTHERS)]
)
def path(request: pytest.FixtureRequest) -> Iterator[str]:
    with computed_by(request.param):
        yield request.param
