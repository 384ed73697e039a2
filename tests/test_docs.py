"""What the pages promise is there: every test that docs/pitfalls.md names."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_every_pitfall_names_a_test_that_exists() -> None:
    rows = [
        line for line in (ROOT / "docs" / "pitfalls.md").read_text("utf-8").splitlines() if line[:2] == "| "
    ]
    assert len(rows) > 30
    for row in rows[1:]:
        bug, file, found = row.split("|")[1].strip(), "", 0
        for text in re.findall(r"`(tests/[\w/.]+::\w+|::\w+)`", row):
            file = text.partition("::")[0] or file
            name = text.partition("::")[2]
            assert re.search(rf"^def {name}\(", (ROOT / file).read_text("utf-8"), re.MULTILINE), (
                f"{bug}: {text}"
            )
            found += 1
        assert found, f"{bug}: no test"
