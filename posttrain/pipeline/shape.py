"""The shape of a record that was read from a file anyone may have edited: made.json and run.json.

A shape is a type or several, ``[shape]`` for a list, ``Each(shape)`` for an object of any keys, or an object
of keys with their shapes; a key that is absent is fine, one that is not named may hold anything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from posttrain.pipeline.numbers import LARGEST

_NAMES = {str: "text", bool: "true or false", dict: "an object", list: "a list", type(None): "null"}


@dataclass(frozen=True)
class Each:
    """An object whose every value has this shape."""

    shape: Any


class Finite:
    """A number that can be reckoned with: no infinity, and none that a float cannot hold."""


NUMBER = (int, float)  # infinities and NaN are metrics too
FIGURE = (*NUMBER, str, bool, type(None))
FINDING = {
    "name": str,
    "value": FIGURE,
    "threshold": FIGURE,
    "passed": bool,
    "evidence": str,
    "advice": str,
    "learning": bool,
    "stops": bool,
}
METRIC = {"value": FIGURE, "low": NUMBER, "high": NUMBER, "n": int, "unit": str}
_USED = {"field": str, "address": str, "fingerprint": str, "content": str, "path": str}
_ORIGIN = {
    "address": str,
    "stage": str,
    "settings": dict,
    "effective": dict,
    "inputs": [_USED],
    "content": str,
    "finished": str,
    "seconds": Finite,
    "path": str,
}
PRODUCT = {
    **_ORIGIN,
    "format": int,
    "fingerprint": str,
    "ancestors": Each(_ORIGIN),
    "versions": Each(str),
    "files": Each(str),
    "code": Each(str),
    "peak_bytes": Finite,
    "estimate": Each(Finite),
    "machine": Each(Finite),
    "report": {"metrics": Each(METRIC), "figures": Each(FIGURE), "findings": [FINDING], "notes": [str]},
    "findings": [FINDING],
}
RUN = {
    "recipe": str,
    "overrides": [str],
    "status": str,
    "posttrain": str,
    "started": str,
    "finished": str,
    "seconds": Finite,
    "accepted_gates": [str],
    "process": {"number": int, "machine": str, "began": str},
    "machine": Each(Finite),
    "products": Each(str),
    "stages": [
        {
            "address": str,
            "stage": str,
            "role": str,
            "does": str,
            "control": bool,
            "state": str,
            "seconds": Finite,
            "inputs": Each(str),
            "changed_since": [str],
            "findings": [FINDING],
        }
    ],
}


def misshapen(value: Any, shape: Any, path: str = "") -> str:
    """Empty where the value has the shape; otherwise what is wrong and where, ``report.notes[2] is null,
    expected text``.
    """
    if isinstance(shape, dict | Each):
        if not isinstance(value, dict):
            return _wrong(value, "an object", path)
        for key, inner in value.items():
            wanted = shape.shape if isinstance(shape, Each) else shape.get(key)
            if wanted is not None and (message := misshapen(inner, wanted, f"{path}.{key}" if path else key)):
                return message
        return ""
    if isinstance(shape, list):
        if not isinstance(value, list):
            return _wrong(value, "a list", path)
        items = (misshapen(inner, shape[0], f"{path}[{index}]") for index, inner in enumerate(value))
        return next(filter(None, items), "")
    if shape is Finite:
        good = type(value) in NUMBER and abs(value) < LARGEST and math.isfinite(value)
        return "" if good else _wrong(value, "a number", path)
    kinds = shape if isinstance(shape, tuple) else (shape,)
    if type(value) not in kinds or (type(value) is int and abs(value) >= LARGEST):
        names = [_NAMES.get(kind, "a number") for kind in kinds]
        return _wrong(value, " or ".join(dict.fromkeys(names)), path)
    return ""


def _wrong(value: Any, expected: str, path: str) -> str:
    if type(value) in NUMBER:
        beyond = not abs(value) < LARGEST
        limit = f" between -{LARGEST:.0e} and {LARGEST:.0e}" if beyond and "number" in expected else ""
        return f"{path or 'it'} is a number{' beyond those' if limit else ''}, expected {expected}{limit}"
    return f"{path or 'it'} is {_NAMES[type(value)]}, expected {expected}"
