"""What every method promises. Each rule takes a found method and what the tests know of it, and asserts."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.contract.by_hand import Entry, rows
from tests.contract.found import ROOT, Found
from tests.contract.scene import GROUPS, MASKS, PLAIN, Layout, Scene, Table, gradients

COUNT = len(MASKS)
MIXED = (7, 3, 11, 9, 1, 8, 0, 10, 4, 2, 6, 5)
NAN = float("nan")
NEVER = (NAN, math.inf, -math.inf)
POSITIVE = (0.0, -1.0, *NEVER)
NOT_NEGATIVE = (-0.1, *NEVER)
SHARE = (-0.1, 1.1, NAN)
WIDTH = (0.0, -0.2, NAN)
COUNTED = (0, -1)
# what a field of this name may not be, whoever has it
REFUSED: dict[str, tuple[Any, ...]] = {
    "gamma": SHARE,
    "gae_lambda": SHARE,
    "vf_coef": NOT_NEGATIVE,
    "entropy_coef": NOT_NEGATIVE,
    "clip_range": WIDTH,
    "value_clip_range": WIDTH,
    "epochs": COUNTED,
    "minibatches": COUNTED,
    "refills": (-1, 0.5, math.nan),
    "center_coef": NOT_NEGATIVE,
    "beta": POSITIVE,
    "clip_range_high": WIDTH,
    "tau": POSITIVE,
    "tau_negative": POSITIVE,
    "max_length": COUNTED,
    "reward_coef": NOT_NEGATIVE,
}


def total(method: Any, formula: Any, table: Table) -> tuple[Tensor, dict[str, Tensor]]:
    """The formula's loss and its gradient in each quantity of the table."""
    known = rows(table)
    if not (method.wants.before or method.wants.values):  # then the sampler's word is taken
        known = [dataclasses.replace(row, before=row.sampler) for row in known]
    loss = formula(method, known)
    leaves = [getattr(table, name) for name in table.live]
    grads = torch.autograd.grad(loss, leaves, allow_unused=True)
    found = zip(table.live, leaves, grads, strict=True)
    return loss, {name: torch.zeros_like(x) if g is None else g for name, x, g in found}


def same(a: dict[str, Tensor], b: dict[str, Tensor], rtol: float = 1e-9, atol: float = 1e-12) -> None:
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=rtol, atol=atol, msg=lambda m, n=name: f"{n}: {m}")


def made(found: Found, entry: Entry, settings: dict[str, Any]) -> Any:
    return found.kind(**(entry.base | settings))


def follows_its_formula(found: Found, entry: Entry) -> None:
    """Loss and gradient equal those of an implementation that shares no line with it."""
    for seed, settings in enumerate(entry.settings):
        method, table = made(found, entry, settings), Table(seed)
        want, want_grads = total(method, entry.formula, table)
        got = gradients(method, found.folder, table=table)
        assert got.metrics["loss"] == pytest.approx(float(want.detach()), rel=1e-9, abs=1e-12), settings
        same(got.grads, want_grads)
        assert any(bool(g.any()) for g in got.grads.values()), f"{settings}: nothing to learn from the scene"


def is_the_same_in_any_layout(found: Found, entry: Entry) -> None:
    """Neither the cut, the order, the padding's side and width, its junk nor names of groups are seen."""
    changed = [
        Layout(limit=1),
        Layout(limit=7),
        Layout(limit=17, order=MIXED),
        Layout(order=MIXED),
        Layout(left=True),
        Layout(more=5),
        Layout(left=True, more=3, limit=11),
        Layout(junk=NAN),
        Layout(junk=1e30, left=True, more=2),
        Layout(junk=NAN, order=MIXED, limit=13, more=1),
        Layout(rename=lambda group: 900 - 7 * group),
    ]
    for settings in entry.settings:
        method = made(found, entry, settings)
        plain = gradients(method, found.folder)
        for layout in changed:
            other = gradients(method, found.folder, layout)
            same(plain.grads, other.grads)
            for name, figure in plain.metrics.items():
                if name in entry.unsteady:
                    continue
                assert other.metrics[name] == pytest.approx(figure, rel=1e-9, abs=1e-12), (name, layout)


def junk_leaves_no_trace(found: Found, entry: Entry) -> None:
    """What stands outside the mask changes no bit."""
    for settings in entry.settings:
        method = made(found, entry, settings)
        plain = gradients(method, found.folder)
        for junk in (NAN, math.inf, -1e30):
            other = gradients(method, found.folder, Layout(junk=junk))
            assert plain.metrics == other.metrics, junk
            for name, grad in plain.grads.items():
                assert torch.equal(grad, other.grads[name]), (name, junk)


def twice_the_batch_is_the_batch(found: Found, entry: Entry) -> None:
    """Every group once more: each copy has half the gradient, and together they have the same."""
    if entry.others_count:
        return
    for settings in entry.settings:
        method = made(found, entry, settings)
        plain, twice = (gradients(method, found.folder, Layout(copies=n)) for n in (1, 2))
        same(plain.grads, twice.grads)
        assert twice.metrics["loss"] == pytest.approx(plain.metrics["loss"], rel=1e-9, abs=1e-12)


def stays_finite(found: Found, entry: Entry) -> None:
    """A policy far from where it was sampled, in the type that runs use."""
    for settings in entry.settings:
        method = made(found, entry, settings)
        for far in (20.0, -20.0, 80.0, -80.0, 1000.0, -1000.0):
            got = gradients(method, found.folder, table=Table(far=far, dtype=torch.float32))
            assert math.isfinite(got.metrics["loss"]), (far, settings, got.metrics)
            for name, grad in got.grads.items():
                assert grad.isfinite().all(), (far, settings, name)


def refuses_what_means_nothing(found: Found, entry: Entry) -> None:
    """Every number has values that make no sense, and they are not taken."""
    for item in dataclasses.fields(found.kind):
        kinds = str(item.type).replace("None", "").replace("|", " ").split()
        if not {"float", "int"} & set(kinds):
            continue
        own = [s[item.name] for s in entry.refused if set(s) == {item.name}]
        values = own or REFUSED.get(item.name)
        assert values, f"say in the tests which values {found.name}.{item.name} refuses"
        for value in values:
            with pytest.raises(ValueError, match=r"\d|nan|inf"):
                made(found, entry, {item.name: value})
    for settings in entry.refused:
        with pytest.raises(ValueError):
            made(found, entry, dict(settings))
    if any(f.name == "kl" for f in dataclasses.fields(found.kind)):
        refuses_a_negative_kl()


def refuses_a_negative_kl() -> None:
    from posttrain.core.kl import KLExact, KLInLoss, KLInReward

    for kl in (KLInReward, KLInLoss, KLExact):
        for value in NOT_NEGATIVE:
            with pytest.raises(ValueError, match="coef"):
                kl(coef=value)
    for value in (0.0, *NOT_NEGATIVE):
        with pytest.raises(ValueError, match="power"):
            KLInReward(power=value)


def refuses_a_group_of_one(found: Found, entry: Entry) -> None:
    """A method that compares the answers of a prompt cannot do so with one answer."""
    if not entry.grouped:
        return
    method = made(found, entry, {})
    table = Table()
    scene = Scene(table, Layout(order=(0, 3, 6)))
    assert len({GROUPS[row] for row in (0, 3, 6)}) == 3
    facts, wants = scene.rollouts(), method.wants
    with pytest.raises(ValueError, match=r"group"):
        method.credit(facts, scene.before(wants), scene.reference() if wants.reference else None)


def explains_itself(found: Found, entry: Entry) -> None:
    """The docstring has the formula, the people and the year, and what it converges to."""
    text = found.kind.__doc__ or ""
    assert re.search(r"(?m)^ *``[^`]*=[^`]*``", text), f"{found.name}: no line is a formula in ``...``"
    assert re.search(r"\b(19|20)\d\d\b", text), f"{found.name}: no year of the paper"
    assert re.search(r"[Cc]onverge|optimum|minimi[sz]e|fixed point", text), (
        f"{found.name}: where does it lead?"
    )
    assert (found.module.__doc__ or "").strip(), f"{found.name}: the file says nothing"


def has_a_page(found: Found, entry: Entry) -> None:
    """docs/methods/NAME.md: formula, paper, when to use it, what it converges to with a measured number."""
    page = ROOT / "docs" / "methods" / f"{found.name}.md"
    assert page.exists(), f"write {page.relative_to(ROOT)}"
    text = page.read_text()
    assert re.search(r"(?m)^( {4}|```).*", text), f"{page.name}: no formula"
    assert re.search(r"\b(19|20)\d\d\b", text), f"{page.name}: no year"
    assert "## When to use it" in text, f"{page.name}: when?"
    assert re.search(r"## What it converges to\s+.*\d\.\d", text, re.S), f"{page.name}: to what, in numbers?"


RULES = [
    follows_its_formula,
    is_the_same_in_any_layout,
    junk_leaves_no_trace,
    twice_the_batch_is_the_batch,
    stays_finite,
    refuses_what_means_nothing,
    refuses_a_group_of_one,
    explains_itself,
    has_a_page,
]
__all__ = ["PLAIN", "RULES"]
