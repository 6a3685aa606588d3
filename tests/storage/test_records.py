from __future__ import annotations

import pytest

from leanfront.core.objectives import Measurement
from leanfront.core.storage.records import plain, require_distinct
from leanfront.errors import UsageError


def test_text_that_databases_refuse_is_made_plain() -> None:
    assert plain("größe ✓ 🙂\n") == "größe ✓ 🙂\n"
    assert plain("a\0b\udcff") == "a?b?"
    assert plain(ValueError("x")) == "x"


def test_one_name_may_be_measured_on_several_splits() -> None:
    require_distinct([Measurement("a", 1.0, split) for split in ("validation", "test", "calibration")])
    require_distinct([Measurement("a", 1.0), Measurement("a", 1.0, "test"), Measurement("b", 1.0)])
    with pytest.raises(UsageError, match="'a' is measured twice as a cost or on the validation split"):
        require_distinct([Measurement("a", 1.0), Measurement("a", 1.0, "validation")])
