"""A file of the user's own stands where a name is."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from posttrain.cli.recipe_files import find_recipe
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.fingerprint import Fingerprints
from posttrain.pipeline.outside import outside, own_files
from posttrain.pipeline.store import Workspace
from posttrain.policy_gradients.rloo import RLOO
from posttrain.settings import expression, parse
from posttrain.settings.listing import as_typed

METHOD = """
from dataclasses import dataclass
from posttrain.policy_gradients.rloo import RLOO

@dataclass(frozen=True, kw_only=True)
class Mine(RLOO):
    scale: float = 2.0
"""


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    path = list(sys.path)
    yield
    sys.path[:] = path


def write(directory: Path, **files: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / f"{name}.py").write_text(textwrap.dedent(text))
    return directory


def rl(*overrides: str):  # type: ignore[no-untyped-def]
    return expression(find_recipe("instructgpt"), parse(overrides)).final  # type: ignore[attr-defined]


def test_a_method_by_its_file_with_settings_below_it(tmp_path: Path) -> None:
    file = write(tmp_path, mine=METHOD) / "mine.py"
    method = rl(f"rl.method={file}:Mine", "rl.method.scale=3", "rl.group_size=4").method
    assert isinstance(method, RLOO)
    assert (type(method).__name__, method.scale) == ("Mine", 3.0)  # type: ignore[attr-defined]
    assert as_typed(method) == f"{file}:Mine"
    assert type(rl(f"rl.method={file}:Mine", "rl.group_size=4").method) is type(method)  # run once


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("absent.py:x", "no such file"),
        ("mine.py:Other", "nothing is called Other there; it defines Mine"),
        ("mine.py", "nothing is called mine there"),
        ("broken.py:x", "broken.py:2: ZeroDivisionError"),
        ("syntax.py:x", "syntax.py:1"),
        ("plain.py:Plain", "write @dataclass"),
        ("lacking.py:Lacking", "is no PolicyGradient; it lacks wants, epochs"),
        ("plain.py:function", "function is a function, expected a class that is a PolicyGradient"),
    ],
)
def test_what_cannot_stand_there_is_told(tmp_path: Path, text: str, wanted: str) -> None:
    write(
        tmp_path,
        mine=METHOD,
        broken="x = 1\ny = 1 / 0\n",
        syntax="def (\n",
        plain="class Plain: pass\ndef function(x): return 1\n",
        lacking="import dataclasses\n@dataclasses.dataclass\nclass Lacking:\n    x: int = 1\n",
    )
    with pytest.raises(UserError) as told:
        rl(f"rl.method={tmp_path}/{text}")
    assert wanted in str(told.value)


def test_two_files_of_one_name_do_not_collide_nor_do_what_they_import(tmp_path: Path) -> None:
    main = "from beside_mine import VALUE\nfrom inside_mine.deep import DEPTH\n"
    main += "def value(): return VALUE, DEPTH\n"
    for number, name in enumerate(("first", "second"), start=1):
        write(tmp_path / name, mine=main, beside_mine=f"VALUE = {number}\n")
        write(tmp_path / name / "inside_mine", __init__="", deep=f"DEPTH = {10 * number}\n")
    values = [outside(f"{tmp_path}/{name}/mine.py:value")() for name in ("first", "second", "first")]
    assert values == [(1, 10), (2, 20), (1, 10)]


def test_a_file_that_changed_is_run_again(tmp_path: Path) -> None:
    for value in (1, 2):
        file = write(tmp_path, mine=f"def value(): return {value}\n") / "mine.py"
        assert outside(f"{file}:value")() == value


def test_a_file_beside_it_hides_no_package(tmp_path: Path) -> None:
    write(tmp_path, mine="import json\ndef value(): return json.dumps([1])\n", json="raise SystemExit\n")
    assert outside(f"{tmp_path}/mine.py:value")() == "[1]"


def test_all_that_it_imports_from_its_directory_counts_in_the_fingerprint(tmp_path: Path) -> None:
    files = {
        "mine": "import helper\n" + METHOD,
        "helper": "def lazily():\n    from deeper import x\n",
        "deeper": "x = 1\n",
        "unused": "x = 1\n",
    }

    def fingerprint(name: str, **changed: str) -> str:
        directory = write(tmp_path / name, **{**files, **changed})
        stage = rl(f"rl.method={directory}/mine.py:Mine", "rl.group_size=4")
        return Fingerprints(Workspace(tmp_path / "workspace")).of(stage)

    first = fingerprint("first")
    assert fingerprint("copied") == first  # the directory is no part of it
    assert fingerprint("other", unused="x = 2\n") == first
    for name in ("mine", "helper", "deeper"):
        assert fingerprint(f"changed_{name}", **{name: files[name] + "\ny = 2\n"}) != first


def test_a_recipe_by_its_file_and_name(tmp_path: Path) -> None:
    recipe = (
        "from posttrain.recipes.cartpole import cartpole\ndef other(seed: int = 0): return cartpole(seed)\n"
    )
    file = write(tmp_path, mine=recipe) / "mine.py"
    assert find_recipe(f"{file}:other").__name__ == "other"
    with pytest.raises(
        UserError, match=r"expected a function mine\(\) that returns a stage; it defines other"
    ):
        find_recipe(str(file))


def test_what_a_file_imports_is_found_without_running_it(tmp_path: Path) -> None:
    directory = write(tmp_path, a="import b, json\nfrom c import d\n", b="import a\n", c="raise SystemExit\n")
    assert {path.name for path in own_files(directory / "a.py")} == {"a.py", "b.py", "c.py"}


def test_what_a_package_imports_relatively_counts(tmp_path: Path) -> None:
    directory = write(tmp_path, a="from pack.one import x\n", three="")
    write(tmp_path / "pack", __init__="from . import zero\n", zero="", one="from .two import y\n", two="")
    write(tmp_path / "pack" / "deep", __init__="", four="")
    (tmp_path / "pack" / "two.py").write_text("from .deep.four import z\nfrom ..three import w\n")
    names = {path.relative_to(tmp_path).as_posix() for path in own_files(directory / "a.py")}
    inside = {f"pack/{name}.py" for name in ("__init__", "zero", "one", "two", "deep/__init__", "deep/four")}
    assert names == {"a.py", "three.py", *inside}
