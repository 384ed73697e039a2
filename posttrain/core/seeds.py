"""Seeds derived from what they are for, so that there is no random stream to lose or to replay."""

from __future__ import annotations

import hashlib


def derive(seed: int, purpose: str, *numbers: int) -> int:
    """A 63-bit seed for one purpose at one place: ``derive(seed, "sample", step, row)``.

    The same arguments give the same number on every machine and Python version; different ones are
    independent as far as BLAKE2 is.
    """
    text = "/".join([str(seed), purpose, *map(str, numbers)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
