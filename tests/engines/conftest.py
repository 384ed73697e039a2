"""Every test of the engines with the compiled kernels, where there are any, and without them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from posttrain.compiled import compiled_kernels
from posttrain.engines import native

BOTH = ["compiled", pytest.param("torch", marks=pytest.mark.slow)]


@pytest.fixture(autouse=True, params=BOTH if compiled_kernels("posttrain.engines._decode") else ["torch"])
def _with_kernels_or_without(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    if request.param == "torch":
        monkeypatch.setenv("POSTTRAIN_KERNELS", "off")
    native.kernels.cache_clear()
    yield
    native.kernels.cache_clear()
