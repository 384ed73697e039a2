"""Every test of the engines with the compiled kernels, where there are any, and without them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from posttrain.engines import native
from posttrain.pipeline.circumstances import compiled_kernels

BOTH = ["compiled", pytest.param("torch", marks=pytest.mark.slow)]


@pytest.fixture(autouse=True, params=BOTH if compiled_kernels() else ["torch"])
def _with_kernels_or_without(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    if request.param == "torch":
        monkeypatch.setenv("POSTTRAIN_KERNELS", "off")
    native.kernels.cache_clear()
    yield
    native.kernels.cache_clear()
