"""What a step's matrix products alone would take: their operations by type, over the speed of a large one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from posttrain.kernels.decode import DecodeKernels
from posttrain.kernels.matmul import matmul_t

ATEN, PACKED = torch.ops.aten, torch.ops.mkldnn
FACTORS = {  # where the two factors stand among an operator's arguments
    ATEN.mm.default: (0, 1),
    ATEN.bmm.default: (0, 1),
    ATEN.addmm.default: (1, 2),
    ATEN.addmm_.default: (1, 2),
    ATEN.baddbmm.default: (1, 2),
}
SIDE = 2048


class Operations(TorchDispatchMode):
    """Counts the operations of matrix products made inside, by type; attention's own are not counted."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()
        self._compiled = DecodeKernels.matmul

    def __enter__(self) -> Operations:
        def counted(kernels: DecodeKernels, x: Tensor, packed: Tensor, *more: Any) -> Tensor:
            self._add(x, 2 * x.numel() * more[1])
            return self._compiled(kernels, x, packed, *more)

        DecodeKernels.matmul = counted  # type: ignore[method-assign]  # PyTorch sees nothing of it
        return super().__enter__()  # type: ignore[no-any-return]

    def __exit__(self, *reason: Any) -> None:
        DecodeKernels.matmul = self._compiled  # type: ignore[method-assign]
        super().__exit__(*reason)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in FACTORS:
            a, b = (args[index] for index in FACTORS[function])
            self._add(a, 2 * a.numel() * b.shape[-1])
        elif function is ATEN.linear.default or str(function).startswith("mkldnn._linear_pointwise"):
            weight = args[2] if str(function).endswith("binary") else args[1]
            self._add(args[0], 2 * args[0].numel() * weight.shape[0])
        return function(*args, **(kwargs or {}))

    def _add(self, factor: Tensor, operations: int) -> None:
        self.count[str(factor.dtype).removeprefix("torch.")] += operations


def speed(kind: str, clock: Callable[[], float]) -> float:
    """Operations a second of a large product of this type, by the faster of the libraries that make it."""
    a, b = (torch.randn(SIDE, SIDE, dtype=getattr(torch, kind)) for _ in range(2))
    seconds = []
    for multiply in (torch.mm, matmul_t) * 6:
        started = clock()
        multiply(a, b)
        seconds.append(clock() - started)
    return 2 * SIDE**3 / min(seconds)


def least_seconds(count: dict[str, float], clock: Callable[[], float]) -> float:
    """Seconds for so many operations of each type at the speed of a large product."""
    return sum(operations / speed(kind, clock) for kind, operations in count.items())
