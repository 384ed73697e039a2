"""Where did this model come from? Settings, data hashes and parents, from a product's own made.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from posttrain.pipeline.progress import duration
from posttrain.pipeline.store import Product


def lineage(product: Product, shown: Callable[[str], str] = str) -> str:
    """The chain as an indented tree, the product first; a parent that was told already is named only.
    ``shown`` is what is told of a text among the settings, and of a path: the text itself.
    """
    if not product.made.get("fingerprint"):
        return f"{shown(str(product.path))}\n  not made by posttrain: nothing is known of where it came from"
    lines: list[str] = [shown(str(product.path))]
    fingerprints: set[str] = set()
    ancestors = product.made.get("ancestors", {})

    def tell(record: Mapping[str, Any], fingerprint: str, depth: int, role: str) -> None:
        indent = "  " * depth
        kind = str(record.get("stage", "")).rpartition(".")[2]
        content = str(record.get("content", ""))[:12]
        title = f"{indent}{role}{record.get('address', '?')} ({kind})  content {content}"
        if fingerprint in fingerprints:
            lines.append(f"{title}  as above")
            return
        fingerprints.add(fingerprint)
        lines.append(f"{title}  fingerprint {fingerprint[:12]}")
        if record.get("finished"):
            lines.append(
                f"{indent}  made {record['finished']} in {duration(float(record.get('seconds', 0)))}"
            )
        if record.get("path"):
            lines.append(f"{indent}  given: {shown(str(record['path']))}")
        for name, value in _flat(_mapped(record.get("settings", {}), shown)):
            lines.append(f"{indent}  {name} = {value}")
        for name, value in _in_effect(record, shown):
            lines.append(f"{indent}  {name} = {value}  (in effect)")
        for used in record.get("inputs", []):
            parent = used.get("fingerprint", "")
            tell(ancestors.get(parent, used), parent, depth + 1, f"{used.get('field', '?')} <- ")

    tell(product.made, product.made["fingerprint"], 0, "")
    return "\n".join(lines)


def _in_effect(record: Mapping[str, Any], shown: Callable[[str], str]) -> list[tuple[str, str]]:
    """The settings that the stage changed by itself."""
    settings = _flat(_mapped(record.get("settings", {}), shown))
    return [one for one in _flat(_mapped(record.get("effective", {}), shown)) if one not in settings]


def _mapped(value: Any, shown: Callable[[str], str]) -> Any:
    """``shown`` of every text in a value from JSON."""
    if isinstance(value, Mapping):
        return {name: _mapped(item, shown) for name, item in value.items()}
    if isinstance(value, list):
        return [_mapped(item, shown) for item in value]
    return shown(value) if isinstance(value, str) else value


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Dotted names and values; inputs are left out, because the tree shows them."""
    pairs: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping) and "stage" not in value:
            kind = value.get("class")
            pairs += [(f"{prefix}{name}", str(kind))] if kind else []
            inner = {key: item for key, item in value.items() if key != "class"}
            pairs += _flat(inner, f"{prefix}{name}.")
        elif not (isinstance(value, Mapping) or (name == "name" and not prefix) or _only_stages(value)):
            pairs.append((f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)))
    return pairs


def _only_stages(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(v, Mapping) and "stage" in v for v in value)
    )
