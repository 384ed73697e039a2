"""scripts/mutate.py takes minutes; that its mistakes can still be made is seen at once."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from mutations import MUTATIONS  # noqa: E402


def test_every_mutation_fits_its_file_once_and_leaves_python() -> None:
    assert len(MUTATIONS) >= 58
    assert len({m.name for m in MUTATIONS}) == len(MUTATIONS)
    for mutation in MUTATIONS:
        text = (ROOT / "posttrain" / mutation.file).read_text("utf-8")
        assert text.count(mutation.old) == 1, mutation.name
        ast.parse(text.replace(mutation.old, mutation.new))
        for test in mutation.tests:
            if test.startswith("tests/"):
                assert (ROOT / test).exists(), (mutation.name, test)
