"""Fewer instructions than the processor has, for posttrain and for its peers alike: ``--isa avx2``.

    python benchmarks/isa.py [avx2]

PyTorch, MKL, oneDNN and posttrain read the environment once, so a benchmark starts itself again with it.
Run by itself this file says whether it takes effect: the speed of a large product on one thread by MKL and
by oneDNN, without and with it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from argparse import ArgumentParser

LIMITS = {
    "avx2": {
        "POSTTRAIN_KERNELS": "avx2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
    }
}


def add_isa(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--isa", choices=list(LIMITS), help="as on a processor that has no more; for peers too"
    )


def limit_isa(isa: str | None) -> None:
    """Starts this command again where the environment is not yet so."""
    if isa is not None and not LIMITS[isa].items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | LIMITS[isa])


def current_isa() -> str | None:
    """The limit that this process was started with."""
    return next((isa for isa, limits in LIMITS.items() if limits.items() <= os.environ.items()), None)


def suffix(isa: str | None) -> str:
    """Of the file of results."""
    return f"-{isa}" if isa else ""


def _speeds() -> str:
    import torch

    torch.set_num_threads(1)
    a, b = torch.randn(512, 512), torch.randn(512, 512)
    packed = torch.ops.mkldnn._reorder_linear_weight(b, 512)
    calls = {
        "MKL": lambda: a @ b,
        "oneDNN": lambda: torch.ops.mkldnn._linear_pointwise(a, packed, None, "none", [], ""),
    }
    fastest = dict.fromkeys(calls, float("inf"))
    for _ in range(100):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            fastest[name] = min(fastest[name], time.perf_counter() - started)
    speeds = ", ".join(f"{name} {2e-9 * 512**3 / seconds:.0f} GFLOP/s" for name, seconds in fastest.items())
    return f"PyTorch's own loops {torch.backends.cpu.get_cpu_capability()}, {speeds}"


def main() -> None:
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("isa", nargs="?", default="avx2", choices=list(LIMITS))
    parser.add_argument("--here", action="store_true", help="the speed in this environment alone")
    ask = parser.parse_args()
    if ask.here:
        print(_speeds())
        return
    for title, environment in (("as it is", {}), (ask.isa, LIMITS[ask.isa])):
        print(f"{title}: ", end="", flush=True)
        subprocess.run([sys.executable, __file__, "--here"], env=os.environ | environment, check=True)


if __name__ == "__main__":
    main()
