"""Files that are no artifacts, were cut short or changed are refused with an `ArtifactError`, whatever they hold."""

from __future__ import annotations

import json
import pickle
import struct
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch import nn

from leanfront.core.compressors import Compressor, Configuration
from leanfront.core.compressors.artifact.layout import FORMAT, Layout, layout
from leanfront.core.compressors.artifact.packed_file import checksum, read, restore, write
from leanfront.errors import ArtifactError


class Made:
    """One artifact with every kind of entry, and what it was made of."""

    def __init__(self, make_target: Any, nets: Any) -> None:
        compressor = Compressor(make_target(nets["option-a"].build(), 24))
        self.model: nn.Module = compressor.target.model
        self.example = compressor.target.example_input
        configuration = Configuration(
            channels={"stem": 4},
            weight_bits={"stem": 3, "inner": 16, "outer": 5, "linear": 8},
            activation_bits={"outer": 6},
            sparsity={"inner": 0.9, "outer": 0.4, "linear": "2:4"},
        )
        compressed = compressor.materialise(configuration)
        self.content = write(compressed, compressor.structure, "made")
        self.layout: Layout = layout(compressor.structure, compressed.configuration, "made")
        (length,) = struct.unpack("<Q", self.content[:8])
        self.head = self.content[8 : 8 + length]
        self.header: dict[str, Any] = json.loads(self.head)

    @property
    def data(self) -> bytes:
        return self.content[-self.layout.memory_bytes :]

    def restored(self, content: bytes) -> nn.Module:
        return restore(read(content), self.model, self.example)

    def with_data(self, entry: str, values: bytes) -> bytes:
        """The file with the first bytes of an entry replaced, under a checksum that fits."""
        found = next(e for e in self.layout.entries if e.name == entry)
        assert len(values) <= found.length
        end = found.offset + len(values)
        return self.sealed(self.data[: found.offset] + values + self.data[end:])

    def sealed(self, data: bytes, configuration: str | None = None) -> bytes:
        """The file with other contents, under a checksum that fits."""
        metadata = dict(self.header["__metadata__"])
        if configuration is not None:
            metadata["configuration"] = configuration
        metadata["check"] = checksum(metadata["configuration"], metadata["target"], data)
        return file_of({**self.header, "__metadata__": metadata}, data)


@pytest.fixture(scope="module")
def made(make_target: Any, nets: Any) -> Made:
    return Made(make_target, nets)


def file_of(header: object, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def refusal(content: bytes) -> str:
    with pytest.raises(ArtifactError) as caught:
        read(content)
    message = str(caught.value)
    assert len(message) < 500
    return message


def test_it_is_read_as_it_is(made: Made) -> None:
    assert file_of(made.header, made.data) == made.content
    names = {entry.form for entry in made.layout.entries}
    assert names == {"packed", "float16", "float32", "index", "bitmap", "pairs", "int16", "uint8"}
    made.restored(made.content)


def test_every_truncation_is_refused(made: Made) -> None:
    for length in range(len(made.content)):
        refusal(made.content[:length])
    assert f"{len(made.data) + 1} bytes of data" in refusal(made.content + b"\0")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "0 bytes are too few"),
        (struct.pack("<Q", 2**63) + b"{}", "header would take 9223372036854775808"),
        (struct.pack("<Q", 2**25) + bytes(2**25), "header would take 33554432"),
        (struct.pack("<Q", 0), "not JSON"),
        (file_of(b"\xff\xfe", b""), "not JSON"),
        (file_of(b"[" * 100_000, b""), "not JSON"),
        (file_of(b"9" * 5000, b""), "not JSON"),
        (file_of([], b""), "names no format"),
        (file_of({"__metadata__": 3}, b""), "names no format"),
        (file_of({"__metadata__": {"format": "pt"}}, b""), "its format is pt, not 'leanfront-1'"),
        (file_of({"__metadata__": {"format": "leanfront-2"}}, b""), "its format is leanfront-2"),
        (file_of({"__metadata__": {"format": ["x"] * 1000}}, b""), "its format is"),
        (file_of({"__metadata__": {"format": FORMAT, "target": 3}}, b""), "no text 'target'"),
        (pickle.dumps({"weight": torch.zeros(3)}), "header would take"),
        (safetensors.torch.save({"weight": torch.zeros(3)}), "names no format"),
    ],
)
def test_foreign_files(content: bytes, said: str) -> None:
    assert said in refusal(content)


@pytest.mark.parametrize(
    "tensor",
    [
        None,
        [],
        {"dtype": "U8", "shape": [0]},
        {"dtype": "U8", "shape": [0], "data_offsets": [0, 0.0]},
        {"dtype": "U8", "shape": [0], "data_offsets": [0, True]},
        {"dtype": "U8", "shape": [0], "data_offsets": [0, 0, 0]},
        {"dtype": "U8", "shape": [0], "data_offsets": [-1, 0]},
        {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]},
        {"dtype": "U8", "shape": [10**9], "data_offsets": [0, 0]},
        {"dtype": "U8", "shape": [0], "data_offsets": [0, 10**30]},
    ],
)
def test_data_are_where_they_must_be(made: Made, tensor: object) -> None:
    refusal(file_of({**made.header, "data": tensor}, b""))


@pytest.mark.parametrize(
    "configuration",
    [
        "",
        "[]",
        "{",
        '{"version":2}',
        '{"version":1,"method":[]}',
        '{"version":1,"method":"bank-0"}',
        '{"version":1,"weight_bits":{"stem":9}}',
        '{"version":1,"weight_bits":{"stem":1' + "0" * 400 + "}}",
        '{"version":1,"sparsity":{"stem":NaN}}',
        '{"version":1,"channels":{"stem":Infinity}}',
        '{"version":1,"channels":{"stem":-1}}',
        '{"version":1,"exec":"import os"}',
        '{"version":1,"activation_range":{}}',
        '{"version":1}',  # valid, but not as leanfront writes it
        '{"version":' + "[" * 10_000,
    ],
)
def test_configurations_that_are_none(made: Made, configuration: str) -> None:
    refusal(made.sealed(made.data, configuration))


def test_a_header_in_another_spelling_is_refused(made: Made) -> None:
    text = made.head.rstrip(b" ")
    spellings = [
        json.dumps(made.header).encode(),
        text.replace(b'"target":"made"', b'"target":"other","target":"made"'),
        text.replace(b'"target":"made"', b'"target":"made","more":"of it"'),
        text.replace(b'"target":"made"', b'"target":"\\ud800"'),
        text.replace(b'"target":"made"', b'"target":"m\\u0061de"'),
        text[:-1] + b',"more":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
        text + b" " * 64,
    ]
    for spelling in spellings:
        assert spelling != text
        assert "header" in refusal(file_of(spelling, made.data))


@pytest.mark.parametrize(
    ("entry", "values", "said"),
    [
        ("stem.weight:scale", struct.pack("<e", float("nan")), "NaN or infinite"),
        ("stem.weight:scale", struct.pack("<e", -1), "not positive"),
        ("stem.weight:scale", struct.pack("<e", 0), "not positive"),
        ("stem.bias", struct.pack("<f", float("inf")), "NaN or infinite"),
        ("inner.weight", struct.pack("<e", float("inf")), "NaN or infinite"),
        ("inner.weight:index", b"\xff\xff", "rising order"),
        ("outer.weight:bitmap", b"\0\0\0\0", "places"),
        ("outer.input:scale", struct.pack("<f", 0), "not positive"),
        ("outer.input:zero_point", b"\x40", "is 64, beyond 6 bits"),
        ("linear.weight:pairs", b"\0", "not in order"),
        ("shortcut.index", struct.pack("<h", 4), "beyond the 4 there are"),
        ("shortcut.index", struct.pack("<h", -2), "beyond the 4 there are"),
    ],
)
def test_values_that_no_module_has(made: Made, entry: str, values: bytes, said: str) -> None:
    with pytest.raises(ArtifactError, match=said):
        made.restored(made.with_data(entry, values))


def test_bits_behind_the_last_value_are_refused(made: Made) -> None:
    entry = next(e for e in made.layout.entries if e.count * e.bits % 8)
    data = bytearray(made.data)
    data[entry.offset + entry.length - 1] |= 0x80
    with pytest.raises(ArtifactError, match=f"'{entry.name}': the last . bits behind"):
        made.restored(made.sealed(bytes(data)))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**31), st.integers(1, 255), st.booleans())
def test_every_changed_byte_is_noticed(made: Made, place: int, change: int, in_header: bool) -> None:
    content = bytearray(made.content)
    content[place % (8 + len(made.head) if in_header else len(content))] ^= change
    refusal(bytes(content))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**31), st.integers(0, 255))
@example(0, 255)
def test_changed_data_under_a_checksum_that_fits_give_a_module_or_the_error(
    made: Made, place: int, value: int
) -> None:
    data = bytearray(made.data)
    data[place % len(data)] = value
    try:
        module = made.restored(made.sealed(bytes(data)))
    except ArtifactError:
        return
    with torch.no_grad():
        assert module(made.example).shape == (1, 4)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.binary(max_size=100).map(lambda b: file_of(b, b""))))
def test_any_bytes_are_refused(content: bytes) -> None:
    refusal(content)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.sampled_from(
        ["version", "channels", "weight_bits", "sparsity", "criterion", "method", "seed", "more"]
    ),
    value=JSON,
)
def test_any_configuration_is_read_or_refused(made: Made, key: str, value: object) -> None:
    configuration = json.loads(made.header["__metadata__"]["configuration"])
    text = json.dumps({**configuration, key: value}, sort_keys=True, separators=(",", ":"))
    try:
        made.restored(made.sealed(made.data, text))
    except ArtifactError:
        return
    assert key != "more"
