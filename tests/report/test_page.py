"""The page shows what a run has, says no more than its metrics allow, and stands on its own."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from posttrain.pipeline.finding import UserError
from posttrain.report import before_after, chart, page, picture, svg
from posttrain.report.record import RunRecord
from tests.report import fabricated


class Balance(HTMLParser):
    """Fails on a tag that closes what is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert [tag] == self.open[-1:], f"</{tag}> closes nothing"
        self.open.pop()


def written(workspace: Path, **kwargs: object) -> str:
    directory = fabricated.instructgpt(workspace, **kwargs)  # type: ignore[arg-type]
    path = page.write(directory, workspace)
    assert path == directory / "report.html"
    return path.read_text(encoding="utf-8")


def test_the_canonical_run_has_every_chapter_and_well_formed_markup(tmp_path: Path) -> None:
    html = written(tmp_path)
    balance = Balance()
    balance.feed(html)
    assert balance.open == []
    chapters = re.findall(r"<h2>(.*?)</h2>", html)
    assert chapters == [
        "Recipe",
        "Over the steps",
        "Proxy and gold against distance",
        "The same prompts, answered by each model",
        "Metrics of each stage",
        "Checks",
        "Time and memory",
        "Lineage",
        "Settings",
    ]
    for title in (
        "Reward (proxy)",
        "Gold reward",
        "KL from the reference",
        "Entropy",
        "Length",
        "Clip fraction",
    ):
        assert f">{title}</text>" in html
    assert "method.clip_range" in html
    assert "These annotators are simulated." in html


def test_it_needs_no_network(tmp_path: Path) -> None:
    html = written(tmp_path).replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)|<link|<img|src=", html)


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    assert written(tmp_path / "a") == written(tmp_path / "b").replace(
        str(tmp_path / "b"), str(tmp_path / "a")
    )


def test_the_verdict_follows_the_interval(tmp_path: Path) -> None:
    wins = {
        (0.741, 0.03): "is better than SFT",
        (0.52, 0.04): "cannot be told apart",
        (0.31, 0.04): "is worse than",
    }
    for place, ((value, half), words) in enumerate(wins.items()):
        metrics = fabricated.interval("win_rate/final_vs_sft", value, half) | {"kl": 1.9}
        directory = fabricated.run(tmp_path / str(place), {"evaluate": {"metrics": metrics}}, {})
        html = page.write(directory, tmp_path / str(place)).read_text(encoding="utf-8")
        assert words in html
        assert "1.90 nats per completion" in html
        assert sum(other in html for other in wins.values()) == 1


def test_without_gold_it_says_what_it_cannot_know(tmp_path: Path) -> None:
    html = written(tmp_path, gold=False)
    assert "it cannot tell whether its answers are better" in html
    assert ">unknown<" in html
    assert "is better than" not in html
    assert "Gold reward</text>" not in html
    assert "Reward (proxy)</text>" in html


def test_a_proxy_that_rises_while_gold_falls_is_called_over_optimized(tmp_path: Path) -> None:
    metrics = {"gold/sft": 0.6, "gold/final": 0.4, "reward/sft": 0.0, "reward/final": 2.0}
    directory = fabricated.run(tmp_path, {"evaluate": {"metrics": metrics}}, {})
    assert "was over-optimized" in page.write(directory, tmp_path).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.05, 0.2, "points); the reward model&#x27;s score rose"),
        (-0.05, 0.1, "which is no clear change; the reward"),
        (-0.1, 0.05, "which is no clear change; the reward"),
        (-0.2, -0.1, "was over-optimized"),
    ],
)
def test_a_change_in_gold_is_claimed_only_outside_its_interval(
    tmp_path: Path, low: float, high: float, words: str
) -> None:
    middle = (low + high) / 2
    metrics = {"gold/sft": 0.5, "gold/final": 0.5 + middle, "reward/sft": 0.0, "reward/final": 2.0}
    metrics |= {"gold_change/final_vs_sft": middle}
    metrics |= {"gold_change/final_vs_sft_low": low, "gold_change/final_vs_sft_high": high}
    directory = fabricated.run(tmp_path, {"evaluate": {"metrics": metrics}}, {})
    assert words in page.write(directory, tmp_path).read_text(encoding="utf-8")


def test_a_reward_whose_intervals_overlap_did_not_clearly_change(tmp_path: Path) -> None:
    metrics = fabricated.interval("reward/sft", 0.0, 0.5) | fabricated.interval("reward/final", 0.4, 0.5)
    curve = [{"step": s, "reward": float(s), "kl": 0.1} for s in range(4)]
    directory = fabricated.run(tmp_path, {"rl": {"metrics": metrics}}, {"rl": {"metrics.jsonl": curve}})
    html = page.write(directory, tmp_path).read_text(encoding="utf-8")
    assert "The reward model&#x27;s score did not clearly change" in html


def test_a_reward_of_two_scales_has_two_names(tmp_path: Path) -> None:
    curve = {"metrics.jsonl": [{"step": s, "reward": s / 20, "kl": 0.1} for s in range(1, 21)]}
    measured = {"metrics": fabricated.interval("reward/sft", -1.9, 0.1)}
    measured["metrics"] |= fabricated.interval("reward/final", 0.7, 0.1)
    told = {}
    for name, reports in (("paid", {"rl": {}}), ("scored", {"rl": {}, "evaluate": measured})):
        directory = fabricated.run(tmp_path / name, reports, {"rl": curve})
        told[name] = page.write(directory, tmp_path / name).read_text(encoding="utf-8")
    assert "The reward it was trained on rose, from 0.075 to 0.975" in told["paid"]
    assert "<dt>reward it was trained on</dt>" in told["paid"]
    assert "<dt>reward it was trained on</dt>" not in told["scored"]
    assert "The reward model&#x27;s score rose, from −1.90 to 0.700" in told["scored"]
    assert "<dt>reward model&#x27;s score</dt>" in told["scored"]
    assert "SFT to final, 512 prompts" in told["scored"]
    assert "reward per completion" in told["scored"]


def test_every_answer_says_whose_it_is_where_columns_are_stacked(tmp_path: Path) -> None:
    html = written(tmp_path)
    rows = re.findall(r"<tr><th scope=.row.>.*?</tr>", html[html.index('class="samples"') :])
    assert rows
    for row in rows[:12]:
        assert re.findall(r'data-model="([^"]*)"', row) == ["base", "SFT", "final"]
    assert "content:attr(data-model)" in html


def test_what_is_wide_has_a_form_for_narrow_screens(tmp_path: Path) -> None:
    html = written(tmp_path)
    assert html.count('class="dots narrow"') == html.count('class="dots"') > 5
    for drawn in re.findall(r"<svg [^>]*class=.dots narrow.*?</svg>", html):
        wide = float(drawn.partition('viewBox="')[2].split()[2])
        texts = re.findall(r'<text x="([\d.]+)" y="[\d.]+"([^>]*)>([^<]*)</text>', drawn)
        for x, attributes, words in texts:
            assert wide <= 340
            if "end" in attributes:
                assert float(x) - svg.width_of(words, 12) >= 0, words
            elif "middle" not in attributes:
                assert float(x) + svg.width_of(words, 12) <= wide, words
    for title in ("Checks", "Time and memory", "Lineage"):
        table = html[html.index(f"<h2>{title}</h2>") :].partition("</section>")[0]
        assert '<table class="plain">' in table, title
        assert "data-name=" in table, title


def test_a_long_number_at_the_end_of_a_line_stays_in_its_panel() -> None:
    points = [(float(step), 1.5e-4 - 1e-8 * step) for step in range(50)]
    drawn = chart.panel(chart.Panel(title="t", unit="u", series=[chart.Series(points=points)]))
    label = re.search(r'<text x="([\d.]+)"[^>]*class="end ink"[^>]*text-anchor="end">', drawn)
    assert label is not None
    assert float(label[1]) == chart.WIDTH


@pytest.mark.parametrize("gold", [True, False])
def test_what_was_aligned_directly_was_not_trained_on_a_reward(tmp_path: Path, gold: bool) -> None:
    metrics = {"reward/sft": 0.0, "reward/final": 2.0}
    if gold:
        metrics |= {"gold/sft": 0.6, "gold/final": 0.4}
    reports = {
        "sft": {},
        "alignment": {"metrics": fabricated.interval("label_accuracy", 0.7)},
        "evaluate": {"metrics": metrics},
    }
    curve = {"metrics.jsonl": [{"step": s, "loss": 1 / s} for s in range(1, 9)]}
    files = {"sft": curve, "alignment": curve}
    html = page.write(fabricated.run(tmp_path, reports, files), tmp_path).read_text(encoding="utf-8")
    assert "it was trained on" not in html
    assert "over-optimized" not in html
    assert 0 < html.find("<h3>alignment: direct alignment") < html.find("<h3>sft: ")  # its curves come first
    assert "it sides with the annotators in 70" in html
    assert "score of a reward model that it never saw rose" in html
    assert ("Gold reward unknown" in html) == (not gold)


def test_whatever_a_model_says_is_escaped(tmp_path: Path) -> None:
    attack = "</td><script>alert(1)</script>"
    samples = [
        {"prompt": attack, "family": attack, "answers": {attack: attack, "b": {"text": attack, "gold": 1.0}}}
    ]
    report = {"metrics": {attack: attack, "win_rate": 0.5}, "notes": [attack]}
    finding = {"name": attack, "value": attack, "threshold": attack, "passed": False, "evidence": attack}
    report["findings"] = [finding | {"advice": attack}]
    curves = [{"step": s, attack: s, "reward": s, "kl": s} for s in (1, 2)]
    directory = fabricated.run(
        tmp_path, {"evaluate": report}, {"evaluate": {"samples.jsonl": samples, "metrics.jsonl": curves}}
    )
    html = page.write(directory, tmp_path).read_text(encoding="utf-8")
    assert html.count("<script>") == 1
    assert "alert(1)</script>" not in html
    assert html.count("&lt;script&gt;alert(1)") >= 10


def test_a_failed_check_is_at_the_top_with_its_advice(tmp_path: Path) -> None:
    finding = {
        "name": "reward_rose",
        "value": 0.01,
        "threshold": 0.1,
        "passed": False,
        "evidence": "60 steps",
    }
    report = {
        "metrics": {"reward_final": 0.01},
        "findings": [{**finding, "advice": "Raise rl.learning_rate."}],
    }
    directory = fabricated.run(tmp_path, {"rl": report}, {})
    html = page.write(directory, tmp_path).read_text(encoding="utf-8")
    assert "1 check failed: reward_rose of rl." in html
    assert html.index("Raise rl.learning_rate.") < html.index("<h2>")
    assert 'class="box trouble"' in html


def test_what_the_run_says_of_its_gates_is_shown(tmp_path: Path) -> None:
    directory = fabricated.run(tmp_path, {"sft": {}}, {})
    record = json.loads((directory / "run.json").read_text())
    gate = {"name": "ends", "value": 0.5, "threshold": 0.9, "passed": False, "advice": "Train longer."}
    record["stages"][0]["findings"] = [gate]
    record["accepted_gates"] = ["sft.ends"]
    (directory / "run.json").write_text(json.dumps(record))
    html = page.write(directory, tmp_path).read_text(encoding="utf-8")
    assert "Train longer." in html
    assert "(accepted)" in html


def test_the_start_and_the_end_of_a_metric_are_said_together(tmp_path: Path) -> None:
    report = {"metrics": {"length_final": 8.5, "length_start": 12.0, "rows": 3}}
    directory = fabricated.run(tmp_path, {"rl": report}, {})
    html = page.write(directory, tmp_path).read_text(encoding="utf-8")
    items = [re.sub(r' title="[^"]*"', "", item) for item in re.findall(r"<li.*?</li>", html)]
    assert items == ["<li>Length<b>12 → 8.50</b><i>tokens</i></li>", "<li>rows<b>3</b></li>"]


def test_a_custom_recipe_of_one_stage_without_metrics_has_a_page(tmp_path: Path) -> None:
    directory = fabricated.run(tmp_path, {"thermostat": {}}, {})
    html = page.write(directory, tmp_path).read_text(encoding="utf-8")
    assert "This run measured no policy against another." in html
    assert "thermostat" in html


def test_curves_nobody_named_are_drawn_under_their_own_names(tmp_path: Path) -> None:
    rows = [{"step": s, "room_temperature": 20.0 + s} for s in range(5)]
    directory = fabricated.run(tmp_path, {"thermostat": {}}, {"thermostat": {"temperatures.jsonl": rows}})
    assert ">room temperature</text>" in page.write(directory, tmp_path).read_text(encoding="utf-8")


def test_damage_is_survived_or_named(tmp_path: Path) -> None:
    directory = fabricated.instructgpt(tmp_path, steps=4)
    metrics = next((tmp_path / "products").glob("rl-*/metrics.jsonl"))
    metrics.write_text(metrics.read_text() + '{"step": 5, "rewa', encoding="utf-8")
    gone = next((tmp_path / "products").glob("labels-*"))
    gone.rename(tmp_path / "elsewhere")
    assert "labels" not in [stage.address for stage in RunRecord.load(directory, tmp_path).stages]
    page.write(directory, tmp_path)
    (directory / "run.json").write_text("{")
    with pytest.raises(UserError, match=r"run\.json: not the record of a run"):
        page.write(directory, tmp_path)


def test_values_that_are_not_finite_break_a_line_and_never_the_page(tmp_path: Path) -> None:
    rows = [{"step": s, "reward": float("nan") if s == 2 else s, "kl": float("inf")} for s in range(1, 6)]
    report = {"metrics": {"kl": float("nan"), "gold/sft": "unknown", "accuracy": "unknown"}}
    directory = fabricated.run(tmp_path, {"rl": report}, {"rl": {"metrics.jsonl": rows}})
    html = page.write(directory, tmp_path).read_text(encoding="utf-8")
    assert "Reward (proxy)</text>" in html
    assert "nan" not in re.sub(r"<style>.*</style>", "", html)


def test_a_waiting_run_says_for_what(tmp_path: Path) -> None:
    directory = fabricated.run(tmp_path, {"sft": {}}, {})
    record = json.loads((directory / "run.json").read_text())
    record["stages"].append({"address": "labels", "state": "waiting", "inputs": {"pairs": "pairs"}})
    record["status"] = "waiting"
    (directory / "run.json").write_text(json.dumps(record))
    html = page.write(directory, tmp_path).read_text(encoding="utf-8")
    assert "Waiting for people: labels." in html
    assert "status: waiting" in html


def test_a_product_of_earlier_code_is_told_beside_its_stage(tmp_path: Path) -> None:
    directory = fabricated.run(tmp_path, {"sft": {}}, {})
    record = json.loads((directory / "run.json").read_text())
    record["stages"] = [{"address": "sft", "state": "cached", "changed_since": ["posttrain.core.kl"]}]
    (directory / "run.json").write_text(json.dumps(record))
    html = page.write(directory, tmp_path).read_text(encoding="utf-8")
    assert "Made by earlier code; changed since: posttrain.core.kl." in html


def test_the_picture_stands_alone(tmp_path: Path) -> None:
    directory = fabricated.instructgpt(tmp_path)
    assert picture.main([str(directory), str(tmp_path / "out.svg")]) == 0
    drawn = (tmp_path / "out.svg").read_text(encoding="utf-8")
    balance = Balance()
    balance.feed(drawn)
    assert balance.open == []
    assert drawn.startswith("<svg ")
    for words in ("Reward (proxy)", "Gold reward", "KL from the reference", "final vs SFT", "74.1"):
        assert words in drawn


def test_without_gold_the_picture_shows_lengths_and_what_is_solved(tmp_path: Path) -> None:
    steps = [{"step": step, "reward": step / 9, "length": 7.0 + step, "kl": step / 3} for step in range(10)]
    shares = {
        "solved/final": 0.97,
        "solved/final_low": 0.95,
        "solved/final_high": 0.98,
        "solved/final_n": 800,
    }
    reports = {"rl": {}, "evaluate": {"metrics": shares}}
    directory = fabricated.run(tmp_path, reports, {"rl": {"metrics.jsonl": steps}})
    assert picture.main([str(directory), str(tmp_path / "out.svg")]) == 0
    drawn = (tmp_path / "out.svg").read_text(encoding="utf-8")
    for words in (
        "Reward (proxy)",
        "Length",
        "KL from the reference",
        "Solved, on held-out problems",
        "97.0",
    ):
        assert words in drawn
    assert "Win rates" not in drawn


def test_no_picture_without_a_reward_and_the_reason_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = fabricated.run(tmp_path, {"sft": {}}, {})
    assert picture.main([str(directory), str(tmp_path / "out.svg")]) == 2
    assert "no stage of this run has a reward" in capsys.readouterr().err
    assert not (tmp_path / "out.svg").exists()


def test_before_and_after_are_the_models_own_words_drawn_by_lot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {
            "id": str(number),
            "family": ("feeling", "how_to")[number % 2],
            "prompt": [
                {"role": "system", "content": "Be <brief>."},
                {"role": "user", "content": f"Ask {number}?"},
            ],
            "answers": {
                "base": {"text": "nothing of this"},
                "sft": {"text": f"Before & long {number} " + "word " * 30, "gold": 0.25, "ended": False},
                "final": {"text": f"1. After {number}.\n2. Done.", "gold": 0.75, "ended": True},
            },
        }
        for number in range(9)
    ]
    files = {"evaluate": {"samples.jsonl": rows}}
    directory = fabricated.run(tmp_path, {"evaluate": {"metrics": {}}}, files)
    assert before_after.main([str(directory), str(tmp_path / "out.svg")]) == 0
    drawn = (tmp_path / "out.svg").read_text(encoding="utf-8")
    balance = Balance()
    balance.feed(drawn)
    assert balance.open == []
    asked = [number for number in range(9) if f">Ask {number}?<" in drawn]
    assert len(asked) == before_after.ROWS
    for number in asked:
        assert f"Before &amp; long {number}" in drawn
        assert f">1. After {number}.<" in drawn  # lines stay lines
    for words in ("before: SFT", "after: final", "[…]", "gold 25\u202f%", "gold 75\u202f%"):
        assert words in drawn
    assert "nothing of this" not in drawn
    assert "brief" not in drawn

    alone = fabricated.run(tmp_path / "alone", {"sft": {}}, {})
    assert before_after.main([str(alone), str(tmp_path / "none.svg")]) == 2
    assert "kept no answers of sft and final" in capsys.readouterr().err


def test_the_floor_of_a_loss_is_in_its_panel_and_parts_of_gold_stand_by_family(tmp_path: Path) -> None:
    steps = [
        {"step": n, "pair_loss": 0.7 - n / 50, "pair_loss_floor": 0.45, "accuracy": 0.5} for n in range(9)
    ]
    metrics = {
        "gold_by_family/sft/feeling": 0.5,
        "gold_by_family/final/feeling": 0.7,
        "gold_by_family/sft/feeling/manner": 0.4,
        "gold_by_family/final/feeling/manner": 0.9,
        "family_change/feeling": 0.2,
        "family_change/feeling_low": 0.1,
        "family_change/feeling_high": 0.3,
        "family_change/feeling_n": 40,
    }
    reports = {"rm": {"metrics": {}}, "evaluate": {"metrics": metrics}}
    directory = fabricated.run(tmp_path, reports, {"rm": {"metrics.jsonl": steps}})
    html = page.write(directory, tmp_path).read_text(encoding="utf-8")
    assert "grey: the least these labels allow" in html
    assert html.count("Pairwise loss") >= 1
    assert "pair loss floor" not in html  # it has no panel of its own
    assert "Components of the gold reward by kind of prompt" in html
    assert "feeling/manner" in html
    assert "+10.0 to +30.0" in html
