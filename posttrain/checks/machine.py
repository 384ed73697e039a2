"""Whether this machine can do what is asked: what computes, memory, disk."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from posttrain.kernels.compiled import kernel_path, usable_paths
from posttrain.pipeline.finding import Finding
from posttrain.pipeline.progress import size

if TYPE_CHECKING:
    from posttrain.kernels.decode import DecodeKernels

REACHED = 0.5  # of a plain matrix product's speed, by small transformers that train and sample
SAMPLED_FOR, TIMED_FOR = 0.2, 0.5  # seconds


@cache
def speed(device: str = "cpu") -> float:
    """Operations a second of float32 matrix products on all threads, measured once a process."""
    return _of_product(device, "float32")


def flops_per_second(device: str = "cpu") -> float:
    """Floating-point operations a second that stages are likely to reach."""
    return REACHED * speed(device)


def _of_product(device: str, dtype: str) -> float:
    """Operations a second of a matrix product in this type. Raises RuntimeError where the device has none."""
    import torch

    kind = getattr(torch, dtype)
    a, b = torch.ones(1024, 512, device=device, dtype=kind), torch.ones(512, 512, device=device, dtype=kind)
    float((a @ b)[0, 0])  # the first one sets things up
    began, products = time.perf_counter(), 0
    while time.perf_counter() - began < SAMPLED_FOR:
        float((a @ b)[0, 0])  # waits until the device is done
        products += 1
    return products * 2 * a.numel() * b.shape[1] / (time.perf_counter() - began)


def computes(device: str) -> Finding:
    """The PyTorch that is installed, whether it can compute on the device asked for, how fast its float32
    matrix products are, and whether bfloat16 is worth asking for there: some processors make its products at
    half the speed of float32's.
    """
    import torch

    evidence = f"PyTorch {torch.__version__}, Python {platform.python_version()}"
    if torch.cuda.is_available():
        one = torch.cuda.get_device_properties(0)
        evidence += f", {torch.cuda.device_count()} GPU ({one.name}, {size(one.total_memory)})"
        evidence += "; --device cuda uses it" if device == "cpu" else ""
    else:
        evidence += f", {torch.get_num_threads()} threads, no CUDA GPU"
    try:
        works = float(torch.ones(2, device=device).sum()) == 2.0
    except RuntimeError as error:
        works, evidence = False, f"{evidence}; {device} answers: {(str(error).splitlines() or [''])[0]}"
    if works:
        with suppress(RuntimeError):  # a device without bfloat16
            evidence += f"; {speed(device) / 1e9:.0f} GFLOP/s of float32 matrix products"
            ratio = _of_product(device, "bfloat16") / speed(device)
            evidence += f"; products in bfloat16 (--compute) {ratio:.1f} times as fast as in float32"
    advice = "install the PyTorch build for this device, or use --device cpu"
    return Finding(name="machine_computes", value=device, passed=works, evidence=evidence, advice=advice)


def kernels() -> Finding:
    """Which compiled code is used, and what the same work takes by it and by all else that could be used.

    Raises NoSuchPath.
    """
    from posttrain.kernels.decode import decode_kernels_of

    path, usable = kernel_path(), usable_paths()
    evidence = path or "PyTorch alone"
    if not usable:
        evidence += (
            ": nothing was compiled for this processor; install posttrain again where there is a C compiler"
        )
    taken = decode_kernels_of(path)
    if taken is not None and not taken.threaded:
        evidence += " on one thread, products by PyTorch: it was compiled without GCC's OpenMP"
    times = ", ".join(f"{name} {1e3 * seconds:.2f} ms" for name, seconds in _timed((*usable, None)).items())
    evidence += f"; decoding 16 rows, a layer's perceptron (576 x 1536) takes a thread by {times}"
    return Finding(name="machine_kernels", value=path or "off", evidence=evidence)


def _timed(paths: Sequence[str | None]) -> dict[str, float]:
    """Seconds of the same work by each, on one thread: several wait for each other on a busy machine."""
    import torch

    from posttrain.kernels.decode import decode_kernels_of

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    steps = {path or "off": _perceptron(decode_kernels_of(path)) for path in paths}
    took = dict.fromkeys(steps, float("inf"))
    began = time.perf_counter()
    while time.perf_counter() - began < TIMED_FOR:
        for name, step in steps.items():  # in turn: a busy machine is busy for all
            started = time.perf_counter()
            step()
            took[name] = min(took[name], time.perf_counter() - started)
    torch.set_num_threads(threads)
    return took


def _perceptron(decode_kernels: DecodeKernels | None) -> Callable[[], object]:
    """Norm and gated perceptron of a small model's layer, by these kernels or by PyTorch."""
    import torch

    from posttrain.engines.packed import linear

    like = torch.device("cpu"), torch.float32
    sizes = ((1536, 576), (1536, 576), (576, 1536))
    gate, up, down = (linear([torch.ones(size)], None, None, like, decode_kernels) for size in sizes)
    x = torch.ones(16, 576)

    def step() -> object:
        normed = (
            torch.nn.functional.rms_norm(x, x.shape[1:])
            if decode_kernels is None
            else decode_kernels.norm(x, 1e-5)
        )
        return down.plus(up.times(normed, gate.silu(normed)), x)

    return step


def memory(device: str, needed: int) -> Finding:
    """Bytes that are free beside the ``needed`` ones; 0 needed is not known."""
    free = free_memory(device)
    evidence = f"{size(free)} free" if free else "not known how much is free"
    return Finding(
        name="machine_memory",
        value=float(free),
        threshold=float(needed) if needed else None,
        passed=free == 0 or free >= needed,
        evidence=evidence + (f", the largest stage takes about {size(needed)}" if needed else ""),
        advice="--micro-batch-tokens with a smaller number, lora=8, or a smaller base",
    )


def free_memory(device: str) -> int:
    """Bytes that this process may hold on the device: what it holds, and what is free now; 0 where the system
    does not tell.
    """
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0]) + torch.cuda.memory_reserved(device)
    with suppress(OSError, StopIteration, IndexError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
        held = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return held + min([free, *_left_of_group()])
    with suppress(ValueError, OSError):  # macOS tells what there is, not what is free
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 0


def _left_of_group() -> list[int]:
    """Bytes that a container's limit leaves, where there is one (control groups, version 2)."""
    group = Path("/sys/fs/cgroup")
    with suppress(OSError, ValueError):  # "max" is no limit
        most, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        return [max(0, most - used)]
    return []


def disk(workspace: Path, needed: int) -> Finding:
    """Whether the products fit beside what is there; 0 needed is not known."""
    directory = next(path for path in (workspace, *workspace.parents) if path.exists())
    free, writable = shutil.disk_usage(directory).free, os.access(directory, os.W_OK)
    evidence = f"{size(free)} free at {directory}" + ("" if writable else ", which is not writable")
    return Finding(
        name="machine_disk",
        value=float(free),
        threshold=float(needed),
        passed=free >= needed and writable,
        evidence=evidence + (f", the models made take about {size(needed)}" if needed else ""),
        advice="free space, make it writable, or use another --workspace",
    )
