"""A home directory with a model beside it, in which everything happens that these tests do."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from tests.bad_input.answer import Answer, answer
from tests.stages.test_instructgpt import save_llama


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory, letters: PreTrainedTokenizerFast) -> Path:
    """A context of 256; a letter is a token."""
    return save_llama(tmp_path_factory.mktemp("llama"), letters)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, the home and the place of temporary files; ``good.jsonl`` holds comparisons."""
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    rows = [{"prompt": f"Is {n} odd?", "chosen": "Yes.", "rejected": "No."} for n in range(60)]
    (tmp_path / "good.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


@pytest.fixture
def refused(home: Path, llama: Path) -> Answer:
    """Answers a command line that is to be refused, in ``home``."""
    return lambda *arguments: answer(arguments, home, llama)
