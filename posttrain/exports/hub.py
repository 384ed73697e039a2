"""A product as a directory for the Hugging Face hub: the model, a card made from its lineage, an adapter
where one can be named there."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

from posttrain import __version__
from posttrain.metrics import flat
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.lineage import lineage
from posttrain.pipeline.runner import run_number
from posttrain.pipeline.sources import HUB_NAME
from posttrain.pipeline.store import LOCATED, Product, Workspace, read_json
from posttrain.report.shown import flat_metrics

_MODEL = (
    "config.json",
    "generation_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "chat_template*",
)
_APACHE = "apache-2.0"
_FRONT = re.compile(r"\A---\n(.*?)\n---", re.DOTALL)
_LICENSE = re.compile(r"^license:\s*['\"]?([\w.-]+)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a model card says. ``base`` is the base model's name on the hub, empty for one that is not there;
    ``notes`` are for whoever exports.
    """

    name: str
    base: str
    revision: str
    told_base: str
    license: str
    lineage: str
    metrics: dict[str, Any]
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, product: Product, name: str, workspace: Workspace, license: str | None) -> Card:
        """From the product's ``made.json``, and the metrics of the newest run that made or used it."""
        source, kind = _base(product)
        hub = source if HUB_NAME.fullmatch(source) and not Path(source).expanduser().exists() else ""
        of_base = {"embedded": _APACHE, "SmolLM2": _APACHE}.get(kind, "") or _license_of(source)
        chosen = license or of_base
        notes = []
        if not chosen:
            notes.append(
                "Licence unknown: the card says `other`. A fine-tuned model is under its base's licence; "
                "give it with --license ID."
            )
        pins = read_json(workspace.root / "pins.json", {})
        names = {"embedded": "the small model that posttrain carries", "SmolLM2": "SmolLM2-135M-Instruct"}
        return cls(
            name=name,
            base=hub or ("HuggingFaceTB/SmolLM2-135M-Instruct" if kind == "SmolLM2" else ""),
            revision=str(pins.get(f"models/{hub}", "")) if hub else "",
            told_base=names.get(kind) or hub or (Path(source).name if source else "unknown"),
            license=chosen or "other",
            lineage=lineage(product, _without_directory),
            metrics=_metrics(product, workspace),
            notes=notes,
        )

    def text(self, adapter: bool) -> str:
        """README.md, with what the hub reads of it in front."""
        front = [f"license: {self.license}", *([f"base_model: {self.base}"] if self.base else [])]
        front += ["library_name: transformers", "pipeline_tag: text-generation", "tags:", "- posttrain"]
        rows = "\n".join(f"| `{key}` | {_shown(value)} |" for key, value in self.metrics.items())
        return _CARD.format(
            front="\n".join(front),
            name=self.name,
            base=f"[{self.base}](https://huggingface.co/{self.base})" if self.base else self.told_base,
            version=__version__,
            adapter=_ADAPTER.format(base=self.base) if adapter else _NO_ADAPTER,
            metrics=f"| metric | value |\n|---|---|\n{rows}" if rows else "None were measured.",
            lineage=self.lineage,
        )


def write(product: Product, target: Path, card: Card) -> None:
    """The model's files, and README.md. The adapter goes along where its base is the one named on the hub;
    what else a product holds (curves, episodes, a critic) stays here.
    """
    for pattern in _MODEL:
        for file in sorted(product.path.glob(pattern)):
            shutil.copy2(file, target / file.name)
    adapter = product.path / "adapter"
    config = read_json(adapter / LOCATED, {})
    goes = bool(card.base) and _is_base(str(config.get("base_model_name_or_path", "")), card.base)
    if goes:
        shutil.copytree(adapter, target / "adapter")
        config |= {"base_model_name_or_path": card.base, "revision": card.revision or None}
        (target / "adapter" / LOCATED).write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    (target / "README.md").write_text(card.text(goes), "utf-8")


def push(directory: Path, repository: str) -> str:
    """Uploads a directory to a private repository, made where there is none; its address.

    Raises UserError where the hub refuses.
    """
    if importlib.util.find_spec("huggingface_hub") is None:
        raise UserError("--push needs huggingface_hub; pip install 'posttrain[hub]' brings it")
    from huggingface_hub import HfApi

    try:
        api = HfApi()
        api.create_repo(repository, private=True, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=str(directory))
    except Exception as problem:  # of the hub, of HTTP and of the client: nothing of posttrain's runs here
        first = (str(problem).strip().splitlines() or ["no message"])[0]
        raise UserError(
            f"{repository}: the hub did not take it ({first}). {directory} stays; `hf auth login` signs in, "
            f"`hf upload {repository} {directory}` tries again"
        ) from None
    return f"Uploaded to {repository} (a repository that is made now is private)."


def _base(product: Product) -> tuple[str, str]:
    """Where the base model came from, and its kind: embedded, SmolLM2, or a source of the user's."""
    for record in (product.made, *product.made.get("ancestors", {}).values()):
        kind = str(record.get("stage", "")).rpartition(".")[2]
        source = str(record.get("settings", {}).get("source", ""))
        if kind == "SmolLM2":
            return "", kind
        if kind == "ExistingModel":
            embedded = Path(source).parts[-3:] == ("posttrain", "field_guide", "base")
            return source, "embedded" if embedded else kind
    given = [str(record["path"]) for record in product.made.get("ancestors", {}).values() if "path" in record]
    return (given[0], "given") if given else (str(product.path), "given")


def _is_base(directory: str, name: str) -> bool:
    """Whether a directory is the product that holds the hub's model ``name`` as it came."""
    record = read_json(Path(directory) / "made.json", {})
    kind = str(record.get("stage", "")).rpartition(".")[2]
    return kind == "ExistingModel" and record.get("settings", {}).get("source") == name


def _license_of(source: str) -> str:
    """The licence in the card of a base model's directory; empty without one."""
    card = Path(source).expanduser() / "README.md"
    if not source or not card.is_file():
        return ""
    front = _FRONT.match(card.read_text("utf-8", errors="replace"))
    match = _LICENSE.search(front[1]) if front else None
    return match[1] if match else ""


def _without_directory(value: str) -> str:
    """The last component of a path on this machine; any other text unchanged."""
    path = PureWindowsPath(value)  # takes either slash for one
    if value.startswith(("/", "~", "../", "file:")) or path.is_absolute():
        return path.name or "."
    return value


def _metrics(product: Product, workspace: Workspace) -> dict[str, Any]:
    """Of the newest run that has the product: the metrics of its stage and of evaluation; else its own."""
    for path in sorted(workspace.runs.glob("*-*/run.json"), key=lambda p: -run_number(p.parent)):
        products = read_json(path, {}).get("products", {})
        addresses = [
            a for a, location in products.items() if workspace.root / location == product.path.resolve()
        ]
        if addresses:
            wanted = tuple(f"{address}." for address in (*addresses, "evaluate"))
            metrics = flat_metrics(path.parent, workspace.root)
            return {key: value for key, value in metrics.items() if key.startswith(wanted)}
    return dict(flat(product.metrics))


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


_ADAPTER = """`adapter/` holds what was trained as one LoRA adapter of {base}:

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained("{base}")
model = PeftModel.from_pretrained(base, "THIS_REPOSITORY", subfolder="adapter")
```"""
_NO_ADAPTER = "The weights are whole; there is no adapter to load on another model."
_CARD = """---
{front}
---

# {name}

Made from {base} with posttrain {version}.

```python
from transformers import pipeline

say = pipeline("text-generation", "THIS_REPOSITORY")
print(say([{{"role": "user", "content": "Hello"}}])[0]["generated_text"][-1]["content"])
```

{adapter}

## Metrics

As posttrain's report has them; names ending in `_low` and `_high` are the ends of 95 % intervals.

{metrics}

## Where it came from

```
{lineage}
```
"""
