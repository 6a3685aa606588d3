"""API keys, stored as digests and compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from leanfront.errors import UsageError

VARIABLE = "LEANFRONT_API_KEYS"
SHORT = 16
"""Keys with fewer characters than this can be guessed."""
_HASHED = re.compile(r"sha256:([0-9a-fA-F]{64})")


@dataclass(frozen=True)
class Keys:
    """The accepted API keys; falsy if there are none.

    Args:
        digests: SHA-256 of each key.
        short: number of keys that were given in clear text with fewer than `SHORT` characters.
    """

    digests: tuple[bytes, ...] = ()
    short: int = 0

    @classmethod
    def of(cls, texts: Iterable[str]) -> Keys:
        """Parse keys as an operator writes them: in clear text, or as ``sha256:`` and 64 hexadecimal digits.

        Raises:
            UsageError: a key cannot be sent in a header.
        """
        digests, short = [], 0
        for text in texts:
            hashed = _HASHED.fullmatch(text)
            if hashed is not None:
                digests.append(bytes.fromhex(hashed[1]))
                continue
            if text.startswith("sha256:"):
                raise UsageError("an API key's digest is written sha256: and 64 hexadecimal digits")
            if not text or not text.isprintable() or not text.isascii() or " " in text:
                raise UsageError("an API key is made of printable ASCII characters without spaces")
            short += len(text) < SHORT
            digests.append(hashlib.sha256(text.encode()).digest())
        return cls(tuple(digests), short)

    @classmethod
    def from_environment(cls) -> Keys:
        """Read the keys of ``LEANFRONT_API_KEYS`` and clear it, so that no child process or traceback shows them.

        Raises:
            UsageError: the variable is set but contains no key.
        """
        text = os.environ.pop(VARIABLE, "")
        if not text.strip():
            return cls()
        keys = cls.of(part.strip() for part in text.split(",") if part.strip())
        if not keys:
            raise UsageError(f"{VARIABLE} holds commas but no key: unset it, or name a key")
        return keys

    def __bool__(self) -> bool:
        return bool(self.digests)

    def admit(self, key: bytes) -> bool:
        """Whether a key is accepted; takes equally long for every key."""
        digest = hashlib.sha256(key).digest()
        found = False
        for each in self.digests:
            found |= hmac.compare_digest(each, digest)
        return found
