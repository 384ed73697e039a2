"""What a model does between the product of its head and its logits: scaling and soft-capping."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class LogitTransform:
    """``z -> cap tanh(scale z / cap)``, or ``z -> scale z`` without a cap (Gemma 2 2024, section 2)."""

    scale: float = 1.0
    cap: float | None = None

    def __call__(self, products: Tensor) -> Tensor:
        """In place."""
        if self.scale != 1:
            products.mul_(self.scale)
        return products if self.cap is None else products.div_(self.cap).tanh_().mul_(self.cap)

    def through(self, gradient: Tensor, logits: Tensor | None) -> Tensor:
        """The gradient in the head's products from that in the logits, in place; where there is a cap it
        needs the ``logits``, which are used up.
        """
        if self.cap is not None and logits is not None:
            gradient.addcmul_(gradient, logits.div_(self.cap).square_(), value=-1)  # tanh' = 1 - tanh^2
        return gradient if self.scale == 1 else gradient.mul_(self.scale)


PLAIN = LogitTransform()
