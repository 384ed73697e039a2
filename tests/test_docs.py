"""What the pages promise is there: every test that docs/pitfalls.md names, every page in the menu, and what
README types and draws."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from posttrain.cli import main
from posttrain.cli.new_files import REWARD
from posttrain.cli.parser import build_parser

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


def pages(menu: Any) -> list[str]:
    """The files that a menu leads to."""
    if isinstance(menu, str):
        return [menu]
    inner = menu.values() if isinstance(menu, dict) else menu
    return [page for item in inner for page in pages(item)]


def test_every_page_is_in_the_menu_once_and_every_entry_is_a_page() -> None:
    told = pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"])
    docs = ROOT / "docs"
    assert sorted(told) == sorted(path.relative_to(docs).as_posix() for path in docs.rglob("*.md"))


def test_links_between_pages_lead_somewhere() -> None:
    for path in (*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", path.read_text("utf-8")):
            assert (path.parent / target).exists(), f"{path.relative_to(ROOT)}: {target}"


def reading_order(page: str) -> list[str]:
    """The files of the numbered list that follows "these six files in this order"."""
    _, found, after = (ROOT / page).read_text("utf-8").partition("these six files in this order")
    assert found, page
    return re.findall(r"^\d\. \[([^\]]+)\]\(\1\)", after.split("## How a change lands")[0], re.MULTILINE)


def test_the_six_files_to_read_are_there_and_the_same_on_both_pages() -> None:
    files = reading_order("README.md")
    assert files == reading_order("CONTRIBUTING.md")
    assert len(files) == len(set(files)) == 6
    assert all((ROOT / file).is_file() for file in files)


def test_the_site_asks_no_other_host_for_fonts() -> None:
    assert yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["theme"]["font"] is False


README = (ROOT / "README.md").read_text("utf-8")
PAGES = sorted((ROOT / "docs").glob("*.md"))
BLOCKS = re.compile(r"(?ms)^```\w*\n.*?^```$|^ {4}[^\n]*$")  # fenced, and indented lines
TYPED = re.compile(r"(?m)^ *(?:\.venv/bin/)?posttrain (.*)$")
OWN = re.compile(r"\./\w+\.py")  # the recipes of docs/extending.md, which tests/test_extending.py runs


def commands(text: str) -> list[list[str]]:
    """What a page types after ``posttrain``; alternatives such as ``[--dry-run]`` are prose."""
    lines = [line for block in BLOCKS.findall(text) for line in TYPED.findall(block)]
    typed = [shlex.split(line, comments=True) for line in lines]
    return [words for words in typed if not any(word.startswith("[") for word in words)]


COMMANDS = commands(README)
RUN = [words for words in COMMANDS if words[0] in ("run", "doctor") and not OWN.fullmatch(words[1])]
ROWS = {
    "a.jsonl": '{"messages": [{"role": "user", "content": "%d"}, {"role": "assistant", "content": "a"}]}\n',
    "b.jsonl": '{"prompt": "%d", "chosen": "a", "rejected": "b"}\n',
    "c.jsonl": '{"prompt": "%d"}\n',
    "d.jsonl": '{"prompt": "%d + 1", "answer": "2"}\n',
}


def test_pages_type_commands_that_are_there() -> None:
    assert len(COMMANDS) > 15
    typed = {words[0] for words in COMMANDS}
    for name in ("run", "doctor", "list", "report", "lineage", "chat", "serve", "export"):
        assert name in typed, name
    assert len(commands((ROOT / "docs" / "using_your_model.md").read_text("utf-8"))) > 3
    for page in (ROOT / "README.md", *PAGES):
        for words in commands(page.read_text("utf-8")):
            options, rest = build_parser().parse_known_args(words)
            stray = [word for word in rest if word.startswith("-") or words[0] not in ("run", "doctor")]
            assert not stray, f"{page.name}: posttrain {shlex.join(words)}"
            assert options.command == words[0]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model with room for answers as long as a model of one's own has."""
    made = tmp_path_factory.mktemp("base")
    for file in (ROOT / "posttrain" / "field_guide" / "base").iterdir():
        (made / file.name).symlink_to(file)
    config = json.loads((made / "config.json").read_text("utf-8"))
    (made / "config.json").unlink()
    (made / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 4096}))
    return made


@pytest.mark.parametrize("words", RUN, ids=" ".join)
def test_readme_types_settings_that_are_there(
    words: list[str],
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A dry run, in which rows are read and nothing is made."""
    monkeypatch.setattr("posttrain.checks.machine.flops_per_second", lambda device: 2e11)
    monkeypatch.setattr("posttrain.checks.machine.speed", lambda device: 200.0)
    monkeypatch.chdir(tmp_path)
    for name, row in ROWS.items():
        (tmp_path / name).write_text("".join(row % number for number in range(60)))
    (tmp_path / "t.jinja").write_text("{{ messages }}")
    (tmp_path / "brief.py").write_text(REWARD.code.replace("NAME", "brief"))
    told = [word.replace("DIR_OR_HUB_ID", str(base)) for word in words[1:]]
    assert main(["run", *told, "--dry-run"]) == 0, capsys.readouterr().err
    assert "to make" in capsys.readouterr().out
    assert not (tmp_path / "workspace").exists()


def test_readme_draws_the_tree_that_is_there() -> None:
    drawn = re.findall(r"(?m)^  (\w+(?:/|\.py)) ", README[README.index("## The tree") :])
    package = ROOT / "posttrain"
    there = [f"{path.name}/" for path in package.iterdir() if (path / "__init__.py").exists()]
    there += [path.name for path in package.glob("[!_]*.py")]
    assert sorted(drawn) == sorted(there)


def test_the_first_screen_has_two_commands_a_picture_and_no_term_of_the_trade() -> None:
    screen = README[: README.index("## ")]
    assert len(re.search(r"```\n(.*?)```", screen, re.S)[1].splitlines()) == 2  # type: ignore[index]
    picture = re.search(r"\]\((docs/[\w.]+)\)", screen)
    assert picture is not None
    assert (ROOT / picture[1]).is_file()
    words = r"KL|SFT|PPO|DPO|RLHF|GRPO|LoRA|gold|nats?|critic|polic(y|ies)|reference|rollout|reward model"
    assert not re.search(rf"\b({words})\b", screen)
