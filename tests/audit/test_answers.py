"""Kept logits: in half the bytes, with the same answers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from leanfront.core.audit import Answers
from leanfront.core.audit.answers import compact

CLOSE = 5e-4
"""Of the distance to the largest logit: what is said to be kept."""


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 300), st.floats(-1e4, 1e4))
def test_what_is_kept_gives_the_same_answers_and_softmax(seed: int, scale: float, shift: float) -> None:
    logits = scale * torch.randn(40, 7, generator=torch.Generator().manual_seed(seed)) + shift
    kept = compact(logits).float()
    assert torch.equal(kept.argmax(1), logits.argmax(1))
    distance = logits.double() - logits.double().max(1, keepdim=True).values
    error = (kept.double() - kept.double().max(1, keepdim=True).values - distance).abs()
    # Half precision's smallest step beside its relative one; float32 has taken some of the shift's digits before.
    assert bool((error <= CLOSE * distance.abs() + 1e-7 + 1e-6 * abs(shift)).all())
    wanted, found = logits.double().log_softmax(1), kept.double().log_softmax(1)
    farthest = distance.abs().amax(1, keepdim=True)
    assert bool(((wanted - found).abs() <= 2 * CLOSE * farthest + 2e-7 + 2e-6 * abs(shift)).all())


def test_ordinary_logits_take_two_bytes_each() -> None:
    logits = torch.randn(100, 10)
    assert compact(logits).dtype == torch.float16
    # The largest alone has no error at all.
    assert bool((compact(logits).max(1).values == 0).all())


def test_a_first_answer_closer_than_half_precision_is_kept() -> None:
    close = torch.tensor([[3.0, 1.0, 2.0], [1.0, 5.0, 5.0 + 1e-6]])
    # Less the largest the second is -1e-6, which half precision has; -1e-8 it has not.
    assert compact(close).dtype == torch.float16
    closer = torch.tensor([[1.0, 2.0], [1e-8, 2e-8]])
    assert (closer - closer.max(1, keepdim=True).values).half()[1].tolist() == [0, 0]
    assert compact(closer).dtype == torch.float32
    assert torch.equal(compact(closer), closer)
    assert compact(closer).argmax(1).tolist() == [1, 1]


def test_distances_that_half_precision_cannot_hold_are_kept() -> None:
    far = torch.tensor([[0.0, 1e5], [2.0, 1.0]])
    assert compact(far).dtype == torch.float32
    assert torch.equal(compact(far), far)


def test_of_equal_logits_the_first_stays_first() -> None:
    assert compact(torch.tensor([[2.0, 7.0, 7.0]])).argmax(1).tolist() == [1]


def test_what_is_put_is_what_is_got(answers: Answers) -> None:
    logits = torch.randn(5, 3)
    assert answers.get("a", 1) is None
    put = answers.put(logits, "a", 1)
    assert torch.equal(answers.get("a", 1), put)  # type: ignore[arg-type]
    assert put.dtype == torch.float32
    # Another key is another entry, whatever its parts look like side by side.
    assert answers.get("a", 2) is answers.get("a", "1") is answers.get("a1") is None


def test_what_is_kept_is_not_made_again(answers: Answers) -> None:
    made = []

    def make() -> torch.Tensor:
        made.append(torch.randn(4, 2))
        return made[-1]

    first = answers.recall(make, "x")
    assert torch.equal(answers.recall(make, "x"), first)
    assert len(made) == 1
    answers.recall(make, "y")
    assert len(made) == 2


def test_another_process_has_them(answers: Answers) -> None:
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(3))
    script = (
        "import sys, torch\nfrom pathlib import Path\nfrom audit import Answers\n"
        "logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(3))\n"
        "Answers(Path(sys.argv[1])).put(logits, 'from there', 7)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(answers.folder)], check=True)
    found = answers.get("from there", 7)
    assert found is not None
    assert torch.equal(found, compact(logits).float())


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other"])
def test_a_damaged_file_is_computed_again(answers: Answers, damage: str) -> None:
    kept = answers.put(torch.randn(50, 10), "x")
    answers.put(torch.randn(50, 10), "y")
    files = sorted(answers.folder.rglob("*.safetensors"))
    assert len(files) == 2
    for number, file in enumerate(files):
        content = file.read_bytes()
        spoilt = {
            "cut": content[:-7],
            "flipped": content[:-3] + bytes([content[-3] ^ 4]) + content[-2:],
            "empty": b"",
            # A sound file in another one's place.
            "other": files[1 - number].read_bytes() if number == 0 else content,
        }
        file.write_bytes(spoilt[damage])
    again = torch.randn(50, 10)
    found = {key: answers.recall(lambda: again, key) for key in ("x", "y")}
    assert sum(torch.equal(each, compact(again).float()) for each in found.values()) == (
        1 if damage == "other" else 2
    )
    assert not torch.equal(kept, compact(again).float())
    assert torch.equal(answers.get("x"), found["x"])  # type: ignore[arg-type]


def test_a_folder_that_cannot_be_written_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    answers = Answers(tmp_path / "file" / "folder")
    with pytest.warns(RuntimeWarning, match="cannot write to the cache"):
        found = answers.put(torch.randn(3, 2), "x")
    assert found.shape == (3, 2)
    answers.put(torch.randn(3, 2), "y")
    assert answers.get("x") is None
