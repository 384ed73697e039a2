"""Checkpoints in and out: plain Hugging Face directories, checked before a weight is read.

A model may be a directory or a hub id. What would be silently wrong is refused with the fix: no weights,
pickles only, remote code, a tensor that the checkpoint lacks (it would be drawn at random), logits that are
made otherwise than the config says.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import PreTrainedModel

from posttrain.models.directory import check_directory, check_language_model, check_report
from posttrain.models.head import check_finite, check_head
from posttrain.models.hub_snapshot import snapshot
from posttrain.models.reading import describe, layers_of
from posttrain.pipeline.collector import uncollected
from posttrain.pipeline.files import expanded
from posttrain.pipeline.finding import UserError

with uncollected():
    from transformers import (
        AutoConfig,
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        AutoTokenizer,
        PreTrainedTokenizerBase,
    )
    from transformers.models.auto.auto_factory import _BaseAutoModelClass
from transformers.utils import logging as transformers_logging

Tokenizer = PreTrainedTokenizerBase
ModelAndTokenizer = tuple[PreTrainedModel, Tokenizer]
# of a damaged config, of weights of another model's shapes, of a package that a format would need
UNUSABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, ImportError, RuntimeError)


def _source(source: str | Path) -> str:
    """The directory to give transformers: a good one. A name that is no path is fetched from the hub."""
    path = expanded(source)
    if path.is_dir():
        check_directory(path)
        return str(path)
    looks_local = isinstance(source, Path) or path.exists() or str(source).startswith((".", "/", "~"))
    if looks_local or str(source).count("/") > 1:
        what = "is a file" if path.exists() else "does not exist"
        raise UserError(f"{source}: {what}; expected a model directory or a hub id such as owner/name.")
    return str(snapshot(str(source)))


def _dtype(dtype: str | torch.dtype) -> torch.dtype:
    resolved = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(resolved, torch.dtype) or not resolved.is_floating_point:
        raise UserError(f"dtype={dtype!r}: expected float32, bfloat16, float16 or float64.")
    return resolved


def short(compute: str | None) -> torch.dtype | None:
    """The type of matrix products that are made in less than float32; None where they are made in full.

    Raises UserError for any other type.
    """
    if compute in (None, "float32"):
        return None
    if compute not in ("bfloat16", "float16"):
        raise UserError(f"compute={compute!r}: expected float32, bfloat16 or float16")
    return _dtype(compute)


def load_tokenizer(source: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer beside a model. Raises UserError where there is none."""
    name = _source(source)
    try:
        return AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except (
        Exception
    ) as problem:  # of a damaged tokenizer.json: whatever its parts raise, Exception itself too
        raise UserError(
            f"{source}: no tokenizer could be loaded ({_first_line(problem)}); expected tokenizer.json and "
            "tokenizer_config.json as transformers writes them. Copy the tokenizer again."
        ) from None


def _first_line(problem: BaseException) -> str:
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0]


@contextmanager
def without_bars() -> Iterator[None]:
    """Turns off transformers' progress bars, which would break a stage's bar, and its warnings while loading,
    which the loader here turns into errors.
    """
    shown, verbosity = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if shown:
            transformers_logging.enable_progress_bar()


def _load(
    kind: type[_BaseAutoModelClass], source: str | Path, dtype: str | torch.dtype, device: str
) -> PreTrainedModel:
    wanted = _dtype(dtype)
    name = _source(source)
    if kind is AutoModelForCausalLM:
        check_language_model(Path(name))
    try:
        with without_bars():
            model, report = kind.from_pretrained(
                name,
                dtype=wanted,
                use_safetensors=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,  # refused below, with both shapes
                output_loading_info=True,
            )
    except SafetensorError as problem:
        raise UserError(
            f"{source}: the weights are damaged or cut short ({_first_line(problem)}); copy the model again."
        ) from None
    except UNUSABLE as problem:
        raise UserError(f"{source}: could not be loaded ({_first_line(problem)}).") from None
    check_report(report, type(model).__name__, layers_of(model.config), source)
    check_finite(model, source)
    return without_dropout(model).to(device)  # type: ignore[arg-type]  # transformers wraps it


def without_dropout(model: PreTrainedModel) -> PreTrainedModel:
    """In evaluation mode, and without dropout in training mode too: a policy's evaluation
    must be repeatable.
    """
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name in ("attention_dropout", "attn_dropout", "dropout", "activation_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    return model.eval()


def _embeddings(model: PreTrainedModel) -> nn.Embedding:
    return cast(nn.Embedding, model.get_input_embeddings())


def _check_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, source: str | Path) -> None:
    rows = _embeddings(model).weight.shape[0]
    largest = max(tokenizer.get_vocab().values())
    if largest >= rows:
        raise UserError(
            f"{source}: the tokenizer has token id {largest}, the model {rows} embeddings; "
            "they do not belong together."
        )


def load_causal_lm(
    source: str | Path, *, dtype: str | torch.dtype = "float32", device: str = "cpu"
) -> ModelAndTokenizer:
    """A causal language model and its tokenizer, dropout off. Raises UserError as the module says.

    The model is a plain transformers ``PreTrainedModel``.
    """
    model = _load(AutoModelForCausalLM, source, dtype, device)
    tokenizer = load_tokenizer(source)
    _check_vocabulary(model, tokenizer, source)
    check_head(model, source)
    return model, tokenizer


def load_reward_model(
    source: str | Path, *, dtype: str | torch.dtype = "float32", device: str = "cpu"
) -> ModelAndTokenizer:
    """A trained ``AutoModelForSequenceClassification`` with one label; its head always in at least float32.

    Raises UserError for several labels or an untrained head. Critics are stored in the same form.
    """
    try:
        labels = AutoConfig.from_pretrained(_source(source), trust_remote_code=False).num_labels
    except UNUSABLE as problem:
        raise UserError(f"{source}: could not be loaded ({_first_line(problem)}).") from None
    if labels != 1:
        raise UserError(f"{source}: {labels} labels; a reward model gives one number (num_labels=1).")
    model = _load(AutoModelForSequenceClassification, source, dtype, device)
    tokenizer = load_tokenizer(source)
    _check_vocabulary(model, tokenizer, source)
    return _full_precision_head(model), tokenizer


def load_classifier(source: str | Path, *, device: str = "cpu") -> ModelAndTokenizer:
    """An ``AutoModelForSequenceClassification`` with its own tokenizer. Raises UserError as above."""
    model = _load(AutoModelForSequenceClassification, source, "float32", device)
    tokenizer = load_tokenizer(source)
    _check_vocabulary(model, tokenizer, source)
    return model, tokenizer


def scalar_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, seed: int) -> PreTrainedModel:
    """A one-label model with a copy of the trunk of the causal language model ``model`` and a new head
    (``new_head``). Raises UserError for a family that has no such model."""
    config = copy.deepcopy(model.config)
    config.num_labels = 1
    config.pad_token_id = reward_pad(tokenizer)[0]
    try:
        made: PreTrainedModel = AutoModelForSequenceClassification.from_config(config, dtype=model.dtype)
    except ValueError:
        raise UserError(
            f"transformers has no {config.model_type} with a head of one label, so it can be neither a "
            "reward model nor a critic; take a method that needs neither (sft, dpo, grpo with a verifiable "
            "reward), or a model of another family for them"
        ) from None
    made.base_model.load_state_dict(model.base_model.state_dict())
    made = _full_precision_head(without_dropout(made).to(model.device))  # type: ignore[arg-type]
    made.score = new_head(model, seed=seed)
    return made


def new_head(model: PreTrainedModel, *, seed: int) -> nn.Linear:
    """A head of one label, [1, D], for the trunk of ``model``, in float32 or more. It is drawn from
    N(0, 1 / (D + 1)) as in Stiennon et al. 2020, appendix B."""
    width = _embeddings(model).weight.shape[1]
    normal = torch.randn(1, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    dtype = torch.promote_types(model.dtype, torch.float32)
    head = nn.Linear(width, 1, bias=False, device=model.device, dtype=dtype)
    with torch.no_grad():
        head.weight.copy_(normal / (width + 1) ** 0.5)
    return head


def _full_precision_head(model: PreTrainedModel) -> PreTrainedModel:
    score = cast(nn.Linear, model.score)
    if score.weight.dtype in (torch.float16, torch.bfloat16):
        score.to(torch.float32)
    return model


def pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id that pads short rows. It has no meaning; masks come from positions."""
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)  # type: ignore[arg-type]
    return 0


def reward_pad(tokenizer: PreTrainedTokenizerBase) -> tuple[int | None, str | None]:
    """Id and text of a pad token that does not end answers, or (None, None).

    Plain transformers scores the last token that is not the pad id, posttrain the last one by position.
    They agree where pad is not EOS; where they cannot, no pad is stated, and transformers refuses batches
    instead of scoring the wrong token.
    """
    ends = {tokenizer.eos_token, None}
    others = [token for token in tokenizer.all_special_tokens if token != tokenizer.bos_token]
    for token in (tokenizer.pad_token, tokenizer.unk_token, *others):
        if token not in ends:
            return int(tokenizer.convert_tokens_to_ids(token)), str(token)  # type: ignore[arg-type]
    return None, None


def save_causal_lm(
    directory: str | Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes what ``AutoModelForCausalLM`` and ``AutoTokenizer`` read; ``weights`` in place of its own."""
    with without_bars():
        model.save_pretrained(directory, state_dict=None if weights is None else dict(weights))
    tokenizer.save_pretrained(directory)


def save_reward_model(
    directory: str | Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    """Writes what ``AutoModelForSequenceClassification`` reads: one label, and the pad of ``reward_pad``.

    Raises ValueError for a model with several labels.
    """
    if model.config.num_labels != 1:
        raise ValueError(f"{model.config.num_labels} labels; a reward model has one")
    number, token = reward_pad(tokenizer)
    model.config.pad_token_id = number
    tokenizer = copy.deepcopy(tokenizer)
    if token is not None:
        tokenizer.pad_token = token
    with without_bars():
        model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    describe(directory, model.config)
