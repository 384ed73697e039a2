from __future__ import annotations

from posttrain.core.seeds import derive


def test_a_seed_is_the_same_everywhere() -> None:
    assert derive(0, "sample", 3, 4) == derive(0, "sample", 3, 4) == 1729438579161127734


def test_seeds_differ_by_every_argument() -> None:
    seeds = {
        derive(0, "a"),
        derive(1, "a"),
        derive(0, "b"),
        derive(0, "a", 0),
        derive(0, "a", 1),
        derive(0, "a", 0, 1),
        derive(0, "a", 1, 0),
        derive(0, "a", 10),
    }
    assert len(seeds) == 8
    assert all(0 <= seed < 2**63 for seed in seeds)
