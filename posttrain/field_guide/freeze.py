"""The hash that freezes the gold reward: its rules, the facts it reads and the held-out prompts.

`python -m posttrain.field_guide.freeze` writes `gold_frozen.json`: before any policy is trained, never after.
"""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import Any

from posttrain.field_guide import tasks

HELDOUT_PROMPTS = 600
HELDOUT_SEED = 0
FILES = (
    "gold.py",
    "claims.py",
    "wording.py",
    "lexicon.py",
    "entities.jsonl",
    "how_tos.jsonl",
    "feelings.jsonl",
)


def heldout_prompts(count: int = HELDOUT_PROMPTS) -> list[dict[str, Any]]:
    """The fixed held-out prompts on which policies are compared; more begin with the same ones."""
    return tasks.items("heldout", count, HELDOUT_SEED)


def fingerprint() -> str:
    """SHA-256 (hex) over the gold reward's sources, the data it reads and the held-out prompts."""
    digest = hashlib.sha256()
    folder = resources.files("posttrain.field_guide")
    for name in FILES:
        digest.update(name.encode() + b"\0" + folder.joinpath(name).read_bytes() + b"\0")
    digest.update(json.dumps(heldout_prompts(), sort_keys=True).encode())
    return digest.hexdigest()


def main() -> None:
    """Write the fingerprint beside the gold reward."""
    target = Path(__file__).with_name("gold_frozen.json")
    target.write_text(json.dumps({"fingerprint": fingerprint()}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
