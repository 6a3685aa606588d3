from __future__ import annotations

import pytest

from leanfront.core.cost_models import COST_MODELS, CostModel, register


def model(name: str, alias: str) -> CostModel:
    return CostModel(name, alias, "joule", lambda profile: lambda configuration: 1.0, "a test")


@pytest.mark.parametrize(
    ("name", "alias"), [("macs", "new"), ("new", "macs"), ("memory", "new"), ("new", "memory_bytes")]
)
def test_a_taken_name_is_refused(name: str, alias: str) -> None:
    before = dict(COST_MODELS)
    with pytest.raises(ValueError, match=rf"cost model '{name}' \({alias}\) is registered already"):
        register(model(name, alias))
    assert before == COST_MODELS


def test_a_new_model_is_added() -> None:
    added = model("energy_joules", "energy")
    try:
        assert register(added) is added
        assert COST_MODELS["energy_joules"] is added
        with pytest.raises(ValueError, match="registered already"):
            register(added)
    finally:
        del COST_MODELS["energy_joules"]
