"""The JSON of a candidate's layers, as the OpenAPI document tells it."""

from __future__ import annotations

from pydantic import BaseModel, Field

_EARLIER = "null where an earlier release stored the search."


class Layer(BaseModel):
    """A layer: what is left of it, what it costs, what that is predicted to lose."""

    name: str = Field(examples=["conv1"])
    kind: str = Field(description="conv, depthwise or linear.", examples=["conv"])
    inputs: int | None = Field(description=f"Channels that are left; {_EARLIER}")
    dense_inputs: int | None = Field(description=f"Channels of the dense model; {_EARLIER}")
    outputs: int | None = Field(description=f"Channels that are left; {_EARLIER}")
    dense_outputs: int | None = Field(description=f"Channels of the dense model; {_EARLIER}")
    weight_bits: int | None = Field(description="Bits a weight; null for the model's own float.")
    activation_bits: int | None = Field(description="Bits of its input; null for float.")
    sparsity: float | str | None = Field(
        description="Share of zeroed weights, or '2:4'; null where all are stored."
    )
    bytes: int | None = Field(description=f"In the packed file; {_EARLIER}")
    dense_bytes: int | None = Field(description=f"Of the dense model; {_EARLIER}")
    macs: float | None = Field(
        description=f"Multiply-adds of one input; null where they cannot be counted; {_EARLIER}"
    )
    dense_macs: float | None = Field(description="Of the dense model; null where they cannot be counted.")
    loss: float | None = Field(
        description="Predicted rise of the cross-entropy, nats an image, by its weights' and input's bits and its "
        "sparsity, before any recovery; null where nobody predicted it."
    )


class LayerGroup(BaseModel):
    """Channels that are cut together."""

    name: str = Field(examples=["conv1"])
    units: int = Field(description="In the dense model.")
    kept: int = Field(description="That are left.")
    members: list[str] = Field(description="Sides of modules that it cuts.", examples=[["conv1 (out)"]])
    loss: float | None = Field(
        description="Predicted rise of the cross-entropy, nats an image, by cutting it, before any recovery; null "
        "where nobody predicted it."
    )


class Layers(BaseModel):
    """A candidate by layers and channel groups."""

    candidate: int = Field(examples=[17])
    search: str = Field(examples=["mine"])
    memory_bytes: float | None = Field(description="Of the candidate.")
    macs: float | None = Field(description="Of the candidate.")
    other_bytes: float | None = Field(description="Not in layers: norms and other parameters.")
    other_macs: float | None = Field(description="Not in layers: norms, products of attention.")
    layers: list[Layer] = Field(description="In the model's order.")
    groups: list[LayerGroup] = Field(description="In the model's order.")
