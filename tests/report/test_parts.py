"""Axes, metrics, the recipe's drawing and the choice of prompts, each by itself."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import pytest

from posttrain.metrics import Metric
from posttrain.report import graph, measured, page, provenance, samples, titles
from posttrain.report.catalogue import catalogue, declared
from posttrain.report.chart import Panel, Series, at_the_end, panel, running_mean
from posttrain.report.record import RunRecord
from posttrain.report.scale import duration, extent, labels, number, percent, size, ticks
from posttrain.report.shown import Shown, flat_metrics
from tests.report import fabricated

NARROW = "\u202f"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.0, 1.0, [0.0, 0.25, 0.5, 0.75, 1.0]), (0.0, 90.0, [0.0, 25.0, 50.0, 75.0]), (5.0, 5.0, [5.0])],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == expected


def test_ticks_stay_inside_and_few() -> None:
    for low, high in ((-3.7e-5, 8e-5), (0.981, 0.9817), (-1e9, 3e8), (1, 121)):
        found = ticks(low, high)
        assert 2 <= len(found) <= 8
        assert all(low <= value <= high for value in found)
        assert len(set(labels(found))) == len(found)


def test_numbers_have_the_digits_they_deserve() -> None:
    written = [
        number(v) for v in (1049000, 0.741, -2.413, 0.02, 2.4e-5, 1234.5, 0, math.nan, math.inf, "unknown")
    ]
    expected = [f"1{NARROW}049{NARROW}000", "0.741", "−2.41", "0.020", "2.4 × 10⁻⁵", f"1{NARROW}234", "0"]
    assert written == [*expected, "not a number", "∞", "unknown"]
    assert percent(0.7418) == f"74.2{NARROW}%"
    assert duration(3725) == f"1{NARROW}h 02{NARROW}min"
    assert duration(0.25) == f"0.25{NARROW}s"
    assert size(3 << 29) == f"1.50{NARROW}GiB"


def test_an_axis_has_width_whatever_it_is_given() -> None:
    for values in ([], [0.0], [0.0, 0.0], [3.0], [math.nan], [-2.0, -2.0]):
        low, high = extent(values, zero=True)
        assert low < high
        assert all(low <= v <= high for v in values if math.isfinite(v))


def test_a_running_mean_of_a_line_is_the_line() -> None:
    line = [(float(x), 2.0 * x + 1) for x in range(100)]
    means = running_mean(line, [1.0 + x % 3 for x, _ in line])
    assert len(means) == len(line)
    assert all(math.isclose(y, 2.0 * x + 1) for x, y in means)


def test_a_small_last_batch_does_not_speak_for_the_whole() -> None:
    points = [(float(step), 0.65 + 0.01 * (step % 2)) for step in range(1, 100)] + [(100.0, 0.2)]
    weights = [128.0] * 99 + [7.0]
    mean, count = at_the_end(Series(points=points, weights=weights))
    assert count == 10
    assert mean == pytest.approx((128 * sum(y for _, y in points[-10:-1]) + 7 * 0.2) / (128 * 9 + 7))
    last_of_line = running_mean(points, weights)[-1]
    assert last_of_line[1] == pytest.approx(0.655, abs=0.02)
    drawn = panel(Panel(title="t", unit="u", share=True, series=[Series(points=points, weights=weights)]))
    assert f">65.3{NARROW}%</text>" in drawn
    assert ">last 10</text>" in drawn
    assert f">20.0{NARROW}%</text>" not in drawn


def test_of_few_points_the_last_stands_for_itself() -> None:
    points = [(float(step), float(step)) for step in range(1, 10)]
    assert at_the_end(Series(points=points)) == (9.0, 1)
    assert "last " not in panel(Panel(title="t", unit="u", series=[Series(points=points)]))


@pytest.mark.parametrize("missing", [[-1], [-1, -2], list(range(-10, 0))])
def test_what_is_not_finite_counts_for_no_mean(missing: list[int]) -> None:
    points = [(float(step), 1.0) for step in range(60)]
    for place in missing:
        points[place] = (points[place][0], math.nan)
    mean, count = at_the_end(Series(points=points))
    assert (mean, count) == (1.0, max(1, 6 - len(missing)))


def test_a_panel_breaks_its_line_where_nothing_was_measured() -> None:
    points = [(1.0, 1.0), (2.0, 2.0), (3.0, math.nan), (4.0, 3.0), (5.0, 4.0)]
    drawn = panel(Panel(title="t", unit="u", series=[Series(points=points)]))
    path = drawn.partition('<path d="')[2].partition('"')[0]
    assert path.count("M") == 2
    assert "nan" not in drawn
    assert panel(Panel(title="t", unit="u", series=[Series(points=[(1.0, math.nan)])])) == ""


def test_flat_metrics_are_plain_json_by_address(tmp_path: Path) -> None:
    directory = fabricated.instructgpt(tmp_path)
    found = flat_metrics(directory, tmp_path)
    assert found["evaluate.win_rate/final_vs_sft"] == 0.741
    assert found["evaluate.win_rate/final_vs_sft_low"] == pytest.approx(0.706)
    assert found["rm.control/shuffled"] == 0.497
    assert found["run.seconds"] == 252
    assert found["run.checks_failed"] == 0
    assert found["sft.seconds"] > 0
    assert found["sft.peak_bytes"] > 0
    json.loads(json.dumps(found, allow_nan=False))


def test_a_stage_that_took_several_attempts_says_so(tmp_path: Path) -> None:
    directory = fabricated.run(tmp_path, {"rl": {"metrics": {}}, "sft": {"metrics": {}}}, {})
    (file,) = tmp_path.glob("products/rl-*/made.json")
    made = json.loads(file.read_text())
    file.write_text(json.dumps(made | {"attempts": [{"seconds": 4.0}, {"seconds": 5.0}]}))
    costs = provenance.costs(RunRecord.load(directory, tmp_path))
    assert costs.count("attempts") == 1
    assert "in 2 attempts" in costs


def test_metrics_that_are_not_numbers_are_said_in_words(tmp_path: Path) -> None:
    metrics = {"kl": float("nan"), "gold": "unknown"}
    directory = fabricated.run(tmp_path, {"evaluate": {"metrics": metrics}}, {})
    found = flat_metrics(directory, tmp_path)
    assert (found["evaluate.kl"], found["evaluate.gold"]) == ("nan", "unknown")


def of(name: str, **metric: Any) -> Shown:
    one = Metric(**metric)
    declaration = declared(name, "report", one)
    assert declaration is not None
    return Shown(name, one if one.unit else replace(one, unit=declaration.unit), declaration)


@pytest.mark.parametrize(
    ("one", "brief"),
    [
        (of("win_rate/final_vs_sft", value=0.7), f"70.0{NARROW}%"),
        (of("control/word_count", value=0.57), f"57.0{NARROW}%"),
        (of("answers", value=7), "7"),
        (of("answers", value=0.03), f"3.0{NARROW}%"),
        (of("kl", value=0.7, low=0.6, high=0.8), "0.700"),
        (of("gold_change/final_vs_sft", value=0.2, low=0.1, high=0.3), "0.200"),
        (of("reward/final", value=0.2, low=0.1, high=0.3), "0.200"),
        (of("gold/final", value="unknown"), "unknown"),
        (of("kl_final", value=0.25), "0.250"),
        (of("clip_fraction_final", value=0.25), f"25.0{NARROW}%"),
    ],
)
def test_a_value_is_written_by_its_unit(one: Shown, brief: str) -> None:
    assert one.brief == brief


def test_names_are_read_by_their_declarations() -> None:
    assert of("win_rate/best_of_4_vs_sft", value=0.5).title == "win rate: best of 4 vs SFT"
    assert of("win_rate/best_of_4_vs_sft", value=0.5).label == "best of 4 vs SFT"
    assert of("gold/sft/manner", value=0.5).slots == {"model": "sft", "component": "manner"}
    assert of("kl_final", value=0.5).title == "KL from the reference, last steps"
    assert Shown("room_heat", Metric(1.0), None).title == "room heat"
    assert titles.words_of("my.CartPoleRun") == "cart pole run"


def test_the_meaning_stands_beside_each_curve_and_number(tmp_path: Path) -> None:
    rows = [{"step": step, "kl": step / 10, "kl_k3": 0.1, "mystery": 1.0} for step in (1, 2, 3)]
    metrics = {"kl_final": 0.3, **fabricated.interval("gold/sft", 0.5), **fabricated.interval("gold/rl", 0.6)}
    directory = fabricated.run(tmp_path, {"rl": {"metrics": metrics}}, {"rl": {"metrics.jsonl": rows}})
    html = page.write(directory, tmp_path).read_text("utf-8")
    for name in ("kl", "kl_k3"):
        one = declared(name, "log")
        assert one is not None
        assert f"<title>{escape(one.meaning)}</title>" in html
        assert f". {escape(one.meaning)}" in html  # read out where it cannot be seen
    of_family = next(kind for kind in catalogue().kinds if kind.name == "gold/{model}")
    assert f'<h4 title="{escape(of_family.meaning)}">{of_family.axis}</h4>' in html
    last = declared("kl_final")
    assert last is not None
    assert f'title="{escape(last.meaning)}"' in html
    assert ">mystery</text>" in html


def test_a_stage_says_what_it_is_and_old_records_ask_its_class(tmp_path: Path) -> None:
    run = RunRecord.load(
        fabricated.run(tmp_path, {"rl": {}, "alignment": {}, "thermostat": {}}, {}), tmp_path
    )
    declared_now, by_class, unknown = run.stages
    assert (declared_now.role, declared_now.does) == ("reinforcement", "reinforcement")
    assert (by_class.role, by_class.does) == ("alignment", "direct alignment")
    assert (unknown.role, unknown.does) == ("", "thermostat")


def test_a_product_made_before_metrics_were_typed_is_shown_as_one_made_after(tmp_path: Path) -> None:
    metrics = {**fabricated.interval("gold/sft", 0.5), "kl": 2.5, "rows": 3, "answers": 12}
    pages = []
    for name in ("flat", "typed"):
        directory = fabricated.run(tmp_path / name, {"evaluate": {"metrics": metrics}}, {})
        if name == "flat":
            file = next((tmp_path / name / "products").glob("*/made.json"))
            made = json.loads(file.read_text())
            made["report"]["figures"] = metrics
            del made["report"]["metrics"]
            file.write_text(json.dumps(made))
        run = RunRecord.load(directory, tmp_path / name)
        assert run.stages[0].metrics["gold/sft"].interval == pytest.approx((0.465, 0.535))
        assert run.stages[0].metrics["gold/sft"].n == 512
        assert run.stages[0].metrics["answers"].unit == "answers"
        pages.append("".join(measured.blocks(run)))
    assert pages[0] == pages[1]
    assert f"50.0{NARROW}%" in pages[0]


def test_updates_of_one_step_are_averaged_and_the_largest_ratio_kept(tmp_path: Path) -> None:
    rows = [
        {"step": s, "kl": float(k), "ratio_max": float(k), "entropy_before": 1.0}
        for s in (1, 2)
        for k in (1, 3)
    ]
    directory = fabricated.run(tmp_path, {"rl": {}}, {"rl": {"metrics.jsonl": rows}})
    curves = RunRecord.load(directory, tmp_path).stages[0].curves
    assert curves["kl"] == [(1.0, 2.0), (2.0, 2.0)]
    assert curves["ratio_max"] == [(1.0, 3.0), (2.0, 3.0)]
    assert "entropy_before" in curves


def test_inputs_stand_left_of_what_uses_them_and_data_beside_its_first_use(tmp_path: Path) -> None:
    run = RunRecord.load(fabricated.instructgpt(tmp_path, steps=3), tmp_path)
    place = graph.columns([stage.address for stage in run.stages], run.edges)
    assert all(place[source] < place[target] for source, target in run.edges)
    assert place["base"] == 0
    assert place["prompts"] == place["pairs"] - 1
    assert len(run.edges) == sum(map(len, fabricated.EDGES.values()))


def test_the_diagram_names_every_stage_and_draws_every_arrow() -> None:
    nodes = [graph.Node(name=name) for name in "abcd"]
    drawn = graph.diagram(nodes, [("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")])
    assert drawn.count('class="arrow"') == 4
    assert all(f">{name}</text>" in drawn for name in "abcd")
    assert graph.diagram([], []) == ""


def test_the_seed_chooses_the_prompts_and_families_take_turns() -> None:
    rows = [
        {"prompt": f"{kind} {k}", "family": kind, "answers": {"a": "x"}} for kind in "pqr" for k in range(20)
    ]
    first = samples.chosen(rows, 0, 6)
    assert first == samples.chosen(rows[::-1], 0, 6)
    assert first != samples.chosen(rows, 1, 6)
    assert sorted(samples.family(row) for row in first) == ["p", "p", "q", "q", "r", "r"]


def test_prompts_and_answers_are_read_however_they_were_written() -> None:
    turns = [{"role": "user", "content": "hello"}]
    assert samples.prompt_text({"prompt": turns}) == samples.prompt_text({"prompt": "hello"}) == "hello"
    assert (
        samples.prompt_text({"messages": [*turns, {"role": "assistant", "content": "hi"}]})
        == "user: hello\nassistant: hi"
    )
    assert samples.answers({"prompt": "p", "id": "7", "base": "x", "final": {"text": "y"}, "gold": 0.5}) == {
        "base": "x",
        "final": {"text": "y"},
    }
    assert "(empty)" in samples.table([{"prompt": "p", "answers": {"base": ""}}], 0)
    assert samples.table([], 0) == ""
