"""Values of a built-in target's options: text in, numbers and devices out."""

from __future__ import annotations

import re
from collections.abc import Mapping

from leanfront.errors import UsageError

_DEVICE = re.compile(r"cpu|cuda(:[0-9]{1,3})?")


def whole(reference: str, options: Mapping[str, str], option: str, least: int) -> int | None:
    """A whole number, or None where the option is not given.

    Raises:
        UsageError: it is none, or too small.
    """
    text = options.get(option)
    if text is None:
        return None
    if not text.isdecimal() or int(text) < least:
        raise UsageError(f"{reference}: {option} is '{text}'; give a whole number from {least}")
    return int(text)


def training_device(reference: str, options: Mapping[str, str]) -> str:
    """The option ``device``; empty where it is not given. Whether there is one shows when it is trained on.

    Raises:
        UsageError: not the name of one.
    """
    text = options.get("device", "")
    if text and not _DEVICE.fullmatch(text):
        raise UsageError(f"{reference}: device is '{text}'; give cpu, cuda or cuda:1, or leave it out")
    return text
