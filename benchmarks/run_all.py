"""Every measurement of docs/speed.md and the other pages with figures, one after another: ``make bench``.

    python benchmarks/run_all.py [--only generation,training] [--start N] [--dry-run]

A part is a command that you may run by itself; ``--dry-run`` prints them, with minutes on two cores at 264
GFLOP/s of float32 matrix products. Peers that cannot be in this environment get their own, below build/peers,
at their first use (five minutes, some 4 GB). Nothing else should run meanwhile. A part that fails is told at
the end, and the others are made. Writes benchmarks/results and the pages made from it.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass

from peers import peer
from turns import ROOT

OWN, TRL, VLLM = "own", "trl", "vllm"  # whose Python runs it; with vllm ours, which is told where vllm's is
NARROW = "--isa avx2"  # as on a processor without AVX-512, for both sides
HALF, ACROSS = "--dtype bfloat16", "--dtype bfloat16 --theirs float32"
BIG = "--model smollm2"


@dataclass(frozen=True)
class Part:
    file: str  # benchmarks/bench_FILE.py
    options: str = ""
    minutes: float = 1.0
    python: str = OWN

    @property
    def says(self) -> str:
        return f"{self.file} {self.options}".strip()

    def command(self) -> list[str]:
        python = str(peer(self.python)) if self.python == TRL else sys.executable
        more = ["--vllm", str(peer(VLLM))] if self.python == VLLM else []
        return [python, f"benchmarks/bench_{self.file}.py", *shlex.split(self.options), *more]


PARTS = (
    Part("training", f"{BIG} --tasks grpo --rows 4 --steps 3", 5),
    Part("training", f"{BIG} --tasks grpo --rows 4 --steps 3 {HALF}", 4),
    Part("training", f"{BIG} --tasks grpo --rows 4 --steps 3 {ACROSS}", 4),
    Part("training", f"{BIG} --tasks sft,dpo,rm --steps 3", 8),
    Part("training", f"{BIG} --tasks sft,dpo,rm --steps 3 {HALF}", 6),
    Part("training", f"{BIG} --tasks sft,dpo,rm --steps 3 {ACROSS}", 6),
    Part("training", "--tasks grpo,rloo --steps 12", 1),
    Part("training", f"{BIG} --tasks ppo --steps 3", 6, TRL),
    Part("training", "--tasks ppo --rows 16 --steps 12", 2, TRL),
    Part("generation", f"{BIG} --cases fixed --rounds 5", 4),
    Part("generation", f"{BIG} --cases tail --rounds 2", 7),
    Part("generation", f"{BIG} --rounds 2 {HALF}", 8, VLLM),
    Part("generation", f"{BIG} --cases fixed --rounds 3 {ACROSS}", 3),
    Part("generation", "", 1),
    Part("memory", f"{BIG} --tasks sft,dpo,rm", 6),
    Part("memory", f"{BIG} --tasks grpo --rows 4", 3),
    Part("memory", f"{BIG} --tasks ppo", 4, TRL),
    Part("memory", "--rows 4", 3),
    Part("training", f"{BIG} --tasks grpo --rows 4 --steps 3 --most {NARROW}", 8),
    Part("training", f"{BIG} --tasks sft,dpo,rm --steps 3 --most {NARROW}", 16),
    Part("generation", f"{BIG} --cases fixed --rounds 5 {NARROW}", 5),
    Part("generation", f"{BIG} --cases tail --rounds 2 {NARROW}", 9),
    Part("memory", f"{BIG} --tasks sft,dpo,rm {NARROW}", 8),
    Part("memory", f"{BIG} --tasks grpo --rows 4 {NARROW}", 4),
    Part("products", BIG, 2),
    Part("roles", BIG),
    Part("roles"),
    Part("start", BIG, 2),
    Part("start"),
    Part("growth", "", 4),
    Part("length", "", 12),
    Part("gymnasium", "--sb3", 60),
    Part("embedded_methods", "", 30),
    Part("convergence", "", 10),
    Part("cartpole_preferences", "--page", 20),
    Part("cartpole_preferences", "--cases shuffled,constant --seeds 1001-1020 --page", 15),
)
PAGES = ("benchmarks/speed_page.py", "scripts/method_pages.py")


def made(part: Part) -> bool:
    """Whether it could be made; what it says goes where ours goes."""
    try:
        done = subprocess.run(part.command(), cwd=ROOT, env=_environment(part))
    except (OSError, subprocess.CalledProcessError) as error:  # no environment for the peer
        print(f"{part.says}: {error}", file=sys.stderr)
        return False
    return done.returncode == 0


def _environment(part: Part) -> dict[str, str]:
    return dict(os.environ) | ({"PYTHONPATH": str(ROOT)} if part.python == TRL else {})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", metavar="FILES", help="generation,training,memory,...")
    parser.add_argument("--start", type=int, default=1, metavar="N", help="go on from part N")
    parser.add_argument("--dry-run", action="store_true", help="print the commands")
    ask = parser.parse_args()
    files = {part.file for part in PARTS}
    wanted = set(filter(None, ask.only.split(","))) or files
    if unknown := wanted - files:
        parser.error(f"{', '.join(sorted(unknown))}: expected of {', '.join(sorted(files))}")
    parts = [part for part in PARTS if part.file in wanted]
    left, failed, began = sum(part.minutes for part in parts[ask.start - 1 :]), [], time.monotonic()
    for number, part in list(enumerate(parts, 1))[ask.start - 1 :]:
        more = "" if part.python == OWN else f"   (with {part.python} of build/peers)"
        head = f"[{number}/{len(parts)}, some {left:.0f} minutes left]"
        print(f"{head} bench_{part.says}{more}", flush=True)
        left -= part.minutes
        if not ask.dry_run and not made(part):
            failed.append(part.says)
    if ask.dry_run:
        return
    for page in PAGES:
        subprocess.run([sys.executable, page], cwd=ROOT, check=True)
    print(f"{(time.monotonic() - began) / 60:.0f} minutes")
    if failed:
        raise SystemExit("failed: " + "; ".join(failed))


if __name__ == "__main__":
    main()
