"""Pydantic models of a candidate's layers."""

from __future__ import annotations

from pydantic import BaseModel, Field

_EARLIER = "null if an older release stored the search."


class Layer(BaseModel):
    """A layer: its remaining size, its cost, and its predicted loss."""

    name: str = Field(examples=["conv1"])
    kind: str = Field(description="conv, depthwise or linear.", examples=["conv"])
    inputs: int | None = Field(description=f"Remaining input channels; {_EARLIER}")
    dense_inputs: int | None = Field(description=f"Input channels of the dense model; {_EARLIER}")
    outputs: int | None = Field(description=f"Remaining output channels; {_EARLIER}")
    dense_outputs: int | None = Field(description=f"Output channels of the dense model; {_EARLIER}")
    weight_bits: int | None = Field(description="Bits per weight; null for the model's own float.")
    activation_bits: int | None = Field(description="Bits of its input; null for float.")
    sparsity: float | str | None = Field(
        description="Share of zeroed weights, or '2:4'; null if all weights are stored."
    )
    bytes: int | None = Field(description=f"Bytes in the packed file; {_EARLIER}")
    dense_bytes: int | None = Field(description=f"Bytes in the dense model; {_EARLIER}")
    macs: float | None = Field(
        description=f"Multiply-adds per input; null if they cannot be counted; {_EARLIER}"
    )
    dense_macs: float | None = Field(
        description="The same of the dense model; null if they cannot be counted."
    )
    loss: float | None = Field(
        description="Predicted increase of the cross-entropy in nats per image from the layer's weight "
        "bits, input bits and sparsity, before any recovery; null if there is no prediction."
    )


class LayerGroup(BaseModel):
    """Channels that are cut together."""

    name: str = Field(examples=["conv1"])
    units: int = Field(description="Channels in the dense model.")
    kept: int = Field(description="Remaining channels.")
    members: list[str] = Field(description="Sides of modules that are cut.", examples=[["conv1 (out)"]])
    loss: float | None = Field(
        description="Predicted increase of the cross-entropy in nats per image from cutting the group, before any "
        "recovery; null if there is no prediction."
    )


class Layers(BaseModel):
    """Layers and channel groups of a candidate."""

    candidate: int = Field(examples=[17])
    search: str = Field(examples=["mine"])
    memory_bytes: float | None = Field(description="Bytes of the candidate.")
    macs: float | None = Field(description="Multiply-adds of the candidate.")
    other_bytes: float | None = Field(description="Bytes outside of layers: norms and other parameters.")
    other_macs: float | None = Field(
        description="Multiply-adds outside of layers: norms, attention products."
    )
    layers: list[Layer] = Field(description="Layers in the model's order.")
    groups: list[LayerGroup] = Field(description="Channel groups in the model's order.")
