"""One offline HTML file a run, its metrics as one flat object, and one picture. Standard library only.

The page draws what it finds in the products of a run, whatever the recipe. What a stage writes is read by
these names; none is needed, and what has another name is shown too, further down and without a sentence.

Figures of a stage's report
    ``NAME``, ``NAME_low``, ``NAME_high``: a figure and its 95 % interval; ``NAME_n`` what it counts over.
    ``win_rate/final_vs_sft`` (any ``A_vs_B``): win + half of the ties, a fraction; also ``tie_rate/...``.
    ``kl``: nats per completion, final policy from its reference. ``reward/MODEL``: by the reward model.
    ``gold/MODEL``: a fraction of the attainable maximum; ``gold/MODEL/COMPONENT``: one component of it.
    ``accuracy`` (agreement with gold), ``accuracy/clear``, ``control/NAME`` (the same without the skill).

Curves: every ``*.jsonl`` of a product whose rows have a ``step``: rows of one step are averaged (``*_max``:
    the largest). ``reward``, ``gold`` (with ``gold_low``, ``gold_high``), ``kl``, ``entropy``, ``length``,
    ``clip_fraction`` come first.

Samples: ``samples.jsonl``, one prompt a row: ``prompt`` (text or messages), ``family``, and ``answers``,
    from a model's name (``base``, ``sft``, ``final``) to its text or to ``{"text": ..., "gold": ...}``.
"""
