"""The hash that freezes the gold rewards of both embedded worlds: their rules, the facts they read and the
held-out prompts.

`python -m posttrain.field_guide.freeze` writes `gold_frozen.json`: before any policy is trained, never after.
It raises the version where the hash changed; stages that read gold take their version from it, so products
that an earlier gold reward made are not current.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from posttrain.field_guide import tasks

HELDOUT_PROMPTS = 600
HELDOUT_SEED = 0
FILES = {
    "posttrain.field_guide": (
        "gold.py",
        "claims.py",
        "subjects.py",
        "wording.py",
        "lexicon.py",
        "entities.jsonl",
        "how_tos.jsonl",
        "feelings.jsonl",
    ),
    "posttrain.everyday": ("gold.py", "prompts.py", "topics.py", "facts.txt", "feelings.txt", "how_tos.txt"),
}


_FROZEN: dict[str, Any] = json.loads(
    resources.files("posttrain.field_guide").joinpath("gold_frozen.json").read_text(encoding="utf-8")
)
FINGERPRINT: str = _FROZEN["fingerprint"]
GOLD_VERSION: int = _FROZEN["version"]


def heldout_prompts(count: int = HELDOUT_PROMPTS) -> list[dict[str, Any]]:
    """The fixed held-out prompts on which policies are compared; more begin with the same ones."""
    return tasks.items("heldout", count, HELDOUT_SEED)


def fingerprint() -> str:
    """SHA-256 (hex) over the gold rewards' sources, the data they read and the held-out prompts."""
    digest = hashlib.sha256()
    for package, names in FILES.items():
        for name in names:
            source = resources.files(package).joinpath(name).read_bytes()
            digest.update(f"{package}/{name}".encode() + b"\0" + source + b"\0")
    digest.update(json.dumps(heldout_prompts(), sort_keys=True).encode())
    return digest.hexdigest()


def main() -> None:
    """Write the fingerprint beside the gold reward, and the next version where it changed."""
    target = Path(__file__).with_name("gold_frozen.json")
    target.write_text(json.dumps(refrozen(_FROZEN, fingerprint())) + "\n", encoding="utf-8")


def refrozen(frozen: Mapping[str, Any], now: str) -> dict[str, Any]:
    """What `gold_frozen.json` holds once the gold reward has the fingerprint `now`."""
    return {"fingerprint": now, "version": frozen["version"] + (now != frozen["fingerprint"])}


if __name__ == "__main__":
    main()
