"""What several methods or stages need is written once: no block of lines stands in two places."""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("policy_gradients", "direct_alignment", "stages")
LONGEST = 7  # lines that two places may have in common
LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}

Line = tuple[int, str]  # its number in the file, and its tokens with one space between them


def code_lines(text: str) -> list[Line]:
    """The lines of a file that have code, without comments, docstrings and imports."""
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            left_out |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        if isinstance(node, ast.Expr) and isinstance(getattr(node.value, "value", None), str):  # a docstring
            left_out |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines: dict[int, list[str]] = {}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in LAYOUT and token.start[0] not in left_out and token.string:
            lines.setdefault(token.start[0], []).append(token.string)
    return [(number, " ".join(tokens)) for number, tokens in sorted(lines.items())]


def repeated_blocks(files: dict[str, str]) -> list[str]:
    """Each block of more than LONGEST lines of code that stands in two places, once, by its two places."""
    size = LONGEST + 1
    seen: dict[tuple[str, ...], tuple[str, int]] = {}
    found, going_on = [], False
    for name, text in files.items():
        lines = code_lines(text)
        for start in range(len(lines) - size + 1):
            block = tuple(line for _, line in lines[start : start + size])
            first = seen.setdefault(block, (name, lines[start][0]))
            repeats = first != (name, lines[start][0])
            if repeats and not going_on:
                found.append(f"{name}:{lines[start][0]} repeats {first[0]}:{first[1]}: {block[0]}")
            going_on = repeats
        going_on = False
    return found


def sources(folders: tuple[str, ...]) -> dict[str, str]:
    """Path below the package to text."""
    package = ROOT / "posttrain"
    paths = (path for folder in folders for path in sorted((package / folder).rglob("*.py")))
    return {str(path.relative_to(package)): path.read_text() for path in paths}


def test_no_block_of_lines_stands_in_two_places() -> None:
    found = repeated_blocks(sources(FOLDERS))
    assert found == [], "write it once, where both can reach it:\n" + "\n".join(found)


BLOCK = [f"    step_{number} = work({number})" for number in range(LONGEST + 1)]


def _function(name: str, lines: list[str]) -> str:
    return "\n".join([f"def {name}():", *lines, f"    return {name}", ""])


@pytest.mark.parametrize(
    "apart", ["", "    # a comment\n", '    """Its docstring."""\n', "    import math\n\n"]
)
def test_a_repeated_block_is_found(apart: str) -> None:
    """Also where a comment, a docstring, an import or an empty line stands in the middle of one copy."""
    other = _function("two", BLOCK).replace("def two():\n", f"def two():\n{apart}")
    other = other.replace("step_3 = work(3)\n", f"step_3  =  work(3)\n{apart if '#' in apart else ''}\n")
    found = repeated_blocks({"one.py": _function("one", BLOCK), "two.py": other})
    assert len(found) == 1
    assert "two.py" in found[0]
    assert "repeats one.py:2" in found[0]


def test_a_block_repeated_within_a_file_is_found() -> None:
    text = _function("one", BLOCK) + _function("two", BLOCK)
    assert len(repeated_blocks({"one.py": text})) == 1


def test_what_a_protocol_declares_is_code() -> None:
    text = "".join(f"@property\ndef name_{number}(self) -> int: ...\n" for number in range(2 * LONGEST))
    assert repeated_blocks({"one.py": text}) == []


def test_a_shorter_block_is_not() -> None:
    files = {name: _function(name, BLOCK[:-1]) for name in ("one", "two")}
    assert repeated_blocks(files) == []
