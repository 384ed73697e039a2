"""The decode attention in C++, compiled at first use where there is a compiler.

PyTorch's own attention reads every row as far as the longest one and is slow for one new token a row; this
reads each row as far as it goes. Without a compiler, or with POSTTRAIN_NATIVE=0, the engine uses PyTorch's
and says the same.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

SOURCE = Path(__file__).with_name("attention.cpp")
WIDTHS = (16, 32, 48, 64, 96, 128, 256)  # of a head; the cases of the source
_FLAGS = ("-O3", "-march=native", "-ffast-math", "-fopenmp", "-std=c++17", "-shared", "-fPIC")


def _processor() -> str:
    """What -march=native depends on: a home directory may be shared by unlike machines."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    kinds = {line for line in lines if line.startswith(("flags", "Features", "model name"))}
    return "\n".join((platform.machine(), *sorted(kinds)))


def _place(compiler: str) -> Path:
    """The library made from this source for this machine."""
    parts = (SOURCE.read_text(), " ".join(_FLAGS), compiler, _processor())
    name = hashlib.blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "posttrain" / f"attention-{name}.so"


@cache
def library() -> ctypes.CDLL | None:
    """The compiled functions; None where they are not wanted or cannot be had."""
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if os.environ.get("POSTTRAIN_NATIVE", "1") == "0" or compiler is None:
        return None
    try:
        place = _place(compiler)
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=place.parent) as folder:
                made = Path(folder) / place.name
                subprocess.run(
                    [compiler, *_FLAGS, str(SOURCE), "-o", str(made)], check=True, capture_output=True
                )
                made.replace(place)
        return ctypes.CDLL(str(place))
    except (OSError, subprocess.SubprocessError):
        return None  # the extra is absent; PyTorch's attention says the same


class Attention:
    """``attend`` for one shape of model, on CPU tensors of float32 or bfloat16."""

    @staticmethod
    def fits(width: int, dtype: torch.dtype, device: torch.device) -> bool:
        """Whether there is such a function on this machine."""
        plain = device.type == "cpu" and dtype in (torch.float32, torch.bfloat16) and width in WIDTHS
        return plain and library() is not None

    def __init__(self, heads: int, key_heads: int, width: int, dtype: torch.dtype) -> None:
        self.shape = (heads, key_heads, width)
        self.function = getattr(library(), "attend_float32" if dtype == torch.float32 else "attend_bfloat16")
        self.function.argtypes = [ctypes.c_void_p] * 7 + [ctypes.c_int] * 5 + [ctypes.c_int64]
        self.function.restype = None

    def __call__(  # size: what is new, the cache, where it turns, how far each row is
        self, qkv: Tensor, keys: Tensor, values: Tensor, cos: Tensor, sin: Tensor, past: Tensor, out: Tensor
    ) -> None:
        """Writes what the rows attend to in the first rows of ``out`` [R or more, H E].

        qkv [R or more, (H + 2 K) E]; keys, values [slots, K, columns, E]; cos, sin [columns, E] float32;
        past [R] int64. All contiguous. Keys and values of the new column are written.
        """
        for x in (qkv, keys, values, cos, sin, past, out):
            if not x.is_contiguous():
                raise ValueError(f"a tensor of shape {tuple(x.shape)} is not contiguous")
        pointers = [x.data_ptr() for x in (qkv, keys, values, out, cos, sin, past)]
        self.function(*pointers, len(past), *self.shape, torch.get_num_threads(), keys.shape[2])
