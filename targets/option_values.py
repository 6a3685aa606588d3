"""Parsing of the option values of built-in targets."""

from __future__ import annotations

import re
from collections.abc import Mapping

from leanfront.errors import UsageError

_DEVICE = re.compile(r"cpu|cuda(:[0-9]{1,3})?")


def whole(reference: str, options: Mapping[str, str], option: str, least: int) -> int | None:
    """Parse an option as a whole number; return None if it is not given.

    Raises:
        UsageError: the value is not a whole number, or is too small.
    """
    text = options.get(option)
    if text is None:
        return None
    if not text.isdecimal() or int(text) < least:
        raise UsageError(f"{reference}: {option} is '{text}'; give a whole number from {least}")
    return int(text)


def training_device(reference: str, options: Mapping[str, str]) -> str:
    """Parse the option ``device``; return "" if it is not given. Whether the device exists is checked in training.

    Raises:
        UsageError: the value is not the name of a device.
    """
    text = options.get("device", "")
    if text and not _DEVICE.fullmatch(text):
        raise UsageError(f"{reference}: device is '{text}'; give cpu, cuda or cuda:1, or leave it out")
    return text
