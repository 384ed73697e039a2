"""A metric is declared once, where it is computed; what is stored, shown and documented follows from that."""

from __future__ import annotations

import ast
import importlib
import json
import re
import shutil
from pathlib import Path

import pytest

from posttrain.cli import main
from posttrain.metrics import (
    DECLARED,
    Declarations,
    IntervalEstimate,
    Metric,
    MetricKind,
    declare_metric,
    first,
    flat,
    members,
    number,
    typed,
)
from posttrain.pipeline.stage_report import Report
from posttrain.pipeline.store import Product
from posttrain.report.catalogue import catalogue, declarations_in, declared, explained, nearest_names, sources
from scripts.metrics_page import PAGE, page
from tests.declared_metrics import logged, undeclared

ROOT = Path(__file__).resolve().parent.parent
SHARE = MetricKind(name="won/{model}", meaning="How often {model} wins.", unit="share of games", better="up")
KL = MetricKind(name="kl", meaning="KL.", unit="nats", better="down", where="log")
LAST = MetricKind(name="{metric}_last", meaning="At the end:", unit="", better="none")
ONES = Declarations([SHARE, KL, LAST])


def test_the_page_is_what_the_declarations_say() -> None:
    assert PAGE.read_text("utf-8") == page(), "run python scripts/metrics_page.py"


def test_the_source_says_what_the_modules_declare() -> None:
    for file in {source.file for source in sources()}:
        importlib.import_module(f"posttrain.{file.removesuffix('.py').replace('/', '.')}")
    ours = [kind for kind in DECLARED.kinds if kind.name != "declared in a test"]
    assert sorted(map(repr, ours)) == sorted(repr(source.kind) for source in sources())


def test_a_metric_is_declared_once_with_a_sentence_and_a_unit() -> None:
    kinds = catalogue().kinds
    places = [(kind.name, kind.where, kind.unit) for kind in kinds]
    assert len(set(places)) == len(places)
    for kind in kinds:
        same = [one for one in kinds if one.name == kind.name]
        assert len(same) == 1 or all(one.where for one in same), f"{kind.name}: logged, or reported?"
        assert re.match(r"[A-Z{].*[.:]$", kind.meaning), kind
        assert kind.better in ("up", "down", "none"), kind
        assert bool(kind.unit) != ("{metric}" in kind.name), f"{kind.name}: a unit, or one that is inherited"
        assert kind.meaning.endswith(":") == ("{metric}" in kind.name), kind
        assert set(re.findall(r"\{(\w+)\}", kind.meaning + kind.title + kind.label)) <= set(kind.slots), kind
    with pytest.raises(ValueError, match="kl is declared twice"):
        declare_metric("kl", "Another sentence.", unit="nats per completion", better="up", where="log")
    declare_metric("declared in a test", "One.", unit="rows", better="none")
    assert declare_metric("declared in a test", "One.", unit="rows", better="none") in DECLARED.kinds


def test_a_declaration_is_made_of_literals() -> None:
    good = 'A = declare_metric("a", "A.", unit="rows", better="none")\nB = other("b")\n'
    assert [kind.name for kind in declarations_in(good, "x.py")] == ["a"]
    with pytest.raises(ValueError, match=r"x\.py:1: a metric is declared by literals"):
        list(declarations_in('A = declare_metric(NAME, "A.", unit="rows", better="none")', "x.py"))


def test_a_family_is_filled_and_found_again() -> None:
    (name,) = SHARE.of(IntervalEstimate(0.5, 0.4, 0.6, 10), model="sft")
    assert name == "won/sft"
    one = ONES.of(name)
    assert one is not None
    assert (one.kind, one.slots, one.unit) == (SHARE, {"model": "sft"}, "share of games")
    assert one.meaning == "How often sft wins."
    assert ONES.of("won/sft/by_far") is ONES.of("won") is ONES.of("lost/sft") is None
    with pytest.raises(KeyError):
        SHARE.of(0.5)


def test_a_metric_that_is_made_of_another_has_its_unit_and_its_sentence() -> None:
    assert LAST.of(2.0, metric=KL) == {"kl_last": Metric(2.0, unit="nats")}
    one = ONES.of("kl_last")
    assert one is not None
    assert (one.unit, one.better, one.meaning) == ("nats", "down", "At the end: KL.")
    whole = ONES.of("won/sft_last")  # a name that both could have: the one that says more of it
    assert whole is not None
    assert whole.kind in (SHARE, LAST)
    assert ONES.of("entropy_last") is None


def test_two_metrics_of_one_name_are_told_apart_by_place_and_unit() -> None:
    places = {where: declared("accuracy", where) for where in ("log", "report")}  # type: ignore[arg-type]
    assert {where: one.kind.where for where, one in places.items() if one} == {
        "log": "log",
        "report": "report",
    }
    for metric, unit in (
        (Metric(3, unit="answers"), "answers"),
        (Metric(0.2, unit="share of questions"), "share of questions"),
        (Metric(12), "answers"),  # of a product that was made before metrics had units
        (Metric(0.03), "share of questions"),
    ):
        one = declared("answers", "report", metric)
        assert one is not None
        assert one.unit == unit


def test_an_estimate_of_nothing_is_unknown_and_keeps_its_unit() -> None:
    assert SHARE.of(IntervalEstimate(float("nan"), 0.0, 0.0, 0), model="a") == {
        "won/a": Metric("unknown", unit="share of games")
    }


def test_flat_metrics_are_read_as_typed_ones() -> None:
    stored = {
        "x": 0.5,
        "x_low": 0.4,
        "x_high": 0.6,
        "x_n": 10,
        "kl_lower_bound": 1.0,
        "word": "unknown",
        "_n": 3,
    }
    metrics = typed(stored)
    assert metrics == {
        "x": Metric(0.5, 0.4, 0.6, 10),
        "kl_lower_bound": Metric(1.0),
        "word": Metric("unknown"),
        "_n": Metric(3),
    }
    assert flat(metrics) == stored
    assert typed({"ends": "unknown", "ends_n": 0}) == {"ends": Metric("unknown", n=0)}


def test_a_report_is_written_typed_and_read_as_it_was() -> None:
    report = Report(metrics=SHARE.of(IntervalEstimate(0.5, 0.4, 0.6, 10), model="a") | {"loss": Metric(1.5)})
    stored = json.loads(json.dumps(report.to_json()))
    assert stored["metrics"] == {
        "won/a": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 10, "unit": "share of games"},
        "loss": {"value": 1.5},
    }
    assert Report.from_json(stored) == report
    assert report.values == {"won/a": 0.5, "loss": 1.5}


def test_a_report_made_before_metrics_were_typed_is_read() -> None:
    report = Report.from_json({"figures": {"x": 0.5, "x_low": 0.4, "x_high": 0.6, "x_n": 9, "y": 2}})
    assert report.metrics == {"x": Metric(0.5, 0.4, 0.6, 9), "y": Metric(2)}
    assert report.values == {"x": 0.5, "y": 2}


def test_metrics_are_looked_up_by_name_and_by_family() -> None:
    metrics = {"won/a": Metric(0.5), "won/b": Metric(0.25), "kl": Metric("unknown")}
    assert [(slots["model"], one.value) for slots, one in members(metrics, SHARE.name)] == [
        ("a", 0.5),
        ("b", 0.25),
    ]
    assert list(first(metrics, ["kl", "absent"])) == ["kl", "won/a", "won/b"]
    assert number(metrics, "won/a") == 0.5
    assert number(metrics, "absent", 1.0) == 1.0


def names_read(path: Path) -> set[str]:
    """The metrics that a check asks for, by the literals that it looks them up with."""
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    asked: list[ast.AST] = []
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) > 1:
            asked += [node.args[1]] if node.func.id in ("read", "number", "members") else []
        if (
            isinstance(node, ast.Subscript)
            and isinstance(node.value, ast.Name)
            and node.value.id == "metrics"
        ):
            asked.append(node.slice)
    constants = [inner for one in asked for inner in ast.walk(one) if isinstance(inner, ast.Constant)]
    return {one.value for one in constants if isinstance(one.value, str)}


def test_what_gates_read_is_declared(tmp_path: Path) -> None:
    read = {path.name: names_read(path) for path in (ROOT / "posttrain" / "checks").glob("*.py")}
    assert len(set().union(*read.values())) > 20
    families = {kind.name for kind in catalogue().kinds}
    unknown = {
        name for names in read.values() for name in names if name not in families and not declared(name)
    }
    assert unknown == set()
    misspelt = tmp_path / "check.py"
    misspelt.write_text('kl = number(metrics, "kl_finl", 0.0) + metrics["reward_fnal"].number')
    assert not any(map(declared, names_read(misspelt)))


def product(tmp_path: Path, metrics: dict[str, Metric], row: dict[str, float]) -> Path:
    directory = tmp_path / "rl-1"
    directory.mkdir()
    (directory / "made.json").write_text(json.dumps({"report": Report(metrics=metrics).to_json()}))
    (directory / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    return directory


def test_what_nobody_declares_is_found(tmp_path: Path) -> None:
    good = {"kl_final": Metric(0.5, unit="nats per completion")}
    made = product(
        tmp_path, good | {"kl_finl": Metric(0.5), "steps": Metric(3, unit="rows")}, {"kl": 1, "kls": 2}
    )
    assert undeclared(made) == [
        "rl-1: kl_finl in no unit",
        "rl-1: steps in rows",
        "rl-1: kls in a log",
    ]
    shutil.rmtree(made)
    assert undeclared(product(tmp_path, good, {"step": 1, "gold": 0.5, "gold_low": 0.4})) == []


@pytest.mark.slow
def test_whatever_a_recipe_logs_and_reports_is_declared(tmp_path: Path) -> None:
    """Every recipe of ``scripts/same_numbers.py``, made small."""
    import sys

    sys.path.insert(0, str(ROOT / "scripts"))
    from same.cases import CASES, write_ratings
    from same.checkouts import Checkout, run
    from same.renames import Renames

    write_ratings(tmp_path)
    here = Checkout("NEW", ROOT, tmp_path / "workspace", Renames())
    assert [one.problem for one in (run(here, case) for case in CASES) if one.problem] == []
    products = [path.parent for path in (tmp_path / "workspace" / "products").glob("*/made.json")]
    assert len(products) > 30
    assert [line for path in products for line in undeclared(path)] == []
    everything = {name for path in products for name in (*Product.load(path).metrics, *logged(path))}
    unused = [kind.name for kind in catalogue().kinds if not any(_is(kind, name) for name in everything)]
    assert len(unused) < len(catalogue().kinds) / 3, unused


def _is(kind: MetricKind, name: str) -> bool:
    one = declared(name)
    return one is not None and kind.name in (one.kind.name, one.of.kind.name if one.of else "")


def test_a_name_is_explained_and_a_misspelt_one_has_its_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = explained("gold/sft/manner")
    assert line.startswith("gold/sft/manner: One component of the gold reward, manner, of the answers of sft")
    assert "share of the attainable" in line
    assert "more is better" in line
    assert line.endswith("posttrain/evaluation/compare.py)")
    assert len(explained("answers")) == 3
    assert explained("kl_finl") == []
    assert "kl_final" in nearest_names("kl_finl")
    assert main(["report", "--explain", "rl.kl_final"]) == 0
    assert "Mean over a run's last tenth of steps: KL(policy || reference)" in capsys.readouterr().out
    assert main(["report", "--explain", "kl_finl"]) == 2
    assert "did you mean" in capsys.readouterr().err
    assert main(["report", "--explain"]) == 0
    listed = capsys.readouterr().out
    assert all(f"{kind.name}: {kind.meaning}" in listed for kind in catalogue().kinds)
