"""Weights files, fitting and not."""

from __future__ import annotations

import pickle
import tarfile
import zipfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from leanfront.core.targets.weights import load_weights, read_state
from leanfront.core.targets.wrappers import unwrapped
from leanfront.errors import TargetError


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


class Evil:
    """Would run code if unpickled."""

    def __reduce__(self) -> Any:
        return (print, ("executed",))


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize(
    "prefix", ["", "module.", "_orig_mod.", "model.", "net.", "module._orig_mod.", "model.net.module."]
)
def test_reads_what_training_scripts_write(tmp_path: Path, wrapper: str | None, prefix: str) -> None:
    source, target = network(), network()
    state: dict[str, Any] = {prefix + name: tensor for name, tensor in source.state_dict().items()}
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, tmp_path / "w.pt")
    load_weights(target, tmp_path / "w.pt")
    assert all(torch.equal(t, target.state_dict()[n]) for n, t in source.state_dict().items())


@pytest.mark.parametrize(
    "wrap",
    [
        nn.DataParallel,
        torch.optim.swa_utils.AveragedModel,
        lambda model: torch.compile(model, backend="eager"),
        lambda model: nn.DataParallel(torch.compile(model, backend="eager")),
    ],
)
def test_state_dicts_of_wrapped_models_fit_the_plain_one_and_back(tmp_path: Path, wrap: Any) -> None:
    source, plain, wrapped = network(), network(), network()
    torch.save(wrap(source).state_dict(), tmp_path / "wrapped.pt")
    load_weights(plain, tmp_path / "wrapped.pt")
    torch.save(source.state_dict(), tmp_path / "plain.pt")
    holder = wrap(wrapped)
    load_weights(holder, tmp_path / "plain.pt")
    for target in (plain, unwrapped(holder)):
        assert all(torch.equal(t, target.state_dict()[n]) for n, t in source.state_dict().items())


def test_prefixes_inside_names_and_names_beside_the_model_are_left_out(tmp_path: Path) -> None:
    source, target = network(), network()
    state = {f"model.{name}": tensor for name, tensor in source.state_dict().items()}
    state["model.0.module._orig_mod.weight"] = state.pop("model.0.weight")
    torch.save({"state_dict": {**state, "criterion.weight": torch.ones(2)}}, tmp_path / "lightning.ckpt")
    load_weights(target, tmp_path / "lightning.ckpt")
    assert all(torch.equal(t, target.state_dict()[n]) for n, t in source.state_dict().items())


def test_two_models_that_fit_are_not_guessed_between(tmp_path: Path) -> None:
    pair = {"model": network(), "net": network()}
    state = {f"{key}.{name}": t for key, each in pair.items() for name, t in each.state_dict().items()}
    torch.save(state, tmp_path / "pair.pt")
    with pytest.raises(TargetError, match=r"holds 2 models that fit, under model\., net\."):
        load_weights(network(), tmp_path / "pair.pt")


def test_reads_safetensors(tmp_path: Path) -> None:
    source, target = network(), network()
    safetensors.torch.save_file(source.state_dict(), tmp_path / "w.safetensors")
    load_weights(target, str(tmp_path / "w.safetensors"))
    assert torch.equal(source[0].weight, target[0].weight)


def test_lists_what_does_not_fit(tmp_path: Path) -> None:
    state = network().state_dict()
    del state["0.bias"], state["1.num_batches_tracked"]
    state["extra"] = torch.zeros(1)
    state["2.weight"] = torch.zeros(5, 4)
    torch.save(state, tmp_path / "w.pt")
    model = network()
    before = model[0].weight.clone()
    with pytest.raises(TargetError) as caught:
        load_weights(model, tmp_path / "w.pt")
    message = str(caught.value)
    assert "missing (1): 0.bias;" in message
    assert "unexpected (1): extra;" in message
    assert "wrong shape (1): 2.weight (5, 4) where the model has (2, 4)" in message
    assert torch.equal(before, model[0].weight)


def test_long_lists_are_cut(tmp_path: Path) -> None:
    torch.save({f"x{i}": torch.zeros(1) for i in range(30)}, tmp_path / "w.pt")
    with pytest.raises(TargetError, match=r"unexpected \(30\): x0, .*x7 and 22 more"):
        load_weights(network(), tmp_path / "w.pt")


def test_never_runs_what_is_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"a": torch.zeros(1), "b": Evil()}, tmp_path / "w.pt")
    torch.save(network(), tmp_path / "model.pt")
    for name in ("w.pt", "model.pt"):
        with pytest.raises(TargetError, match="not opened because that could run code"):
            read_state(tmp_path / name)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"nonsense" * 10])
def test_broken_files_are_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TargetError, match=name):
        read_state(tmp_path / name)


def test_truncated_safetensors_is_named(tmp_path: Path) -> None:
    whole = safetensors.torch.save(network().state_dict())
    (tmp_path / "w.safetensors").write_bytes(whole[:-9])
    with pytest.raises(TargetError, match="is the file complete"):
        read_state(tmp_path / "w.safetensors")


def test_no_file_and_no_state_dict(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="there is no file"):
        read_state(tmp_path / "none.pt")
    torch.save({"epoch": 3}, tmp_path / "w.pt")
    with pytest.raises(TargetError, match="holds no state dict but keys epoch"):
        read_state(tmp_path / "w.pt")
    torch.save([1, 2], tmp_path / "w.pt")
    with pytest.raises(TargetError, match="holds no state dict but list"):
        read_state(tmp_path / "w.pt")


def saved(path: Path, content: Any, zipped: bool = True) -> bytes:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path.read_bytes()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("damage", [*range(1, 20), "one byte", "many bytes"])
def test_a_damaged_checkpoint_gives_one_clear_error(tmp_path: Path, zipped: bool, damage: int | str) -> None:
    """Whatever a damaged file makes the readers raise, it becomes an error that names the file."""
    whole = saved(tmp_path / "w.pt", network().state_dict(), zipped)
    places = torch.randint(len(whole), (40,), generator=torch.Generator().manual_seed(0)).tolist()
    if isinstance(damage, int):
        wrong = [whole[: len(whole) * damage // 20]]
    elif damage == "one byte":
        wrong = [whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :] for place in places]
    else:
        wrong = [
            bytes(255 - each if i % 97 == start else each for i, each in enumerate(whole))
            for start in range(20)
        ]
    said = [message for content in wrong if (message := refusal(tmp_path / "w.pt", content)) is not None]
    assert all(message.startswith(f"weights: '{tmp_path / 'w.pt'}' ") for message in said)
    assert all(message.isprintable() for message in said)
    assert said
    assert len(said) == len(wrong) or damage == "one byte"  # a byte of a value is as good as another


def refusal(path: Path, content: bytes) -> str | None:
    """Return why a file of this content is refused, or None if it is loaded."""
    path.write_bytes(content)
    try:
        load_weights(network(), path)
    except TargetError as error:
        return str(error)
    return None


def tarred(folder: Path) -> bytes:
    (folder / "inner").write_bytes(b"storages")
    with tarfile.open(folder / "w.tar", "w") as archive:
        archive.add(folder / "inner", "storages")
    return (folder / "w.tar").read_bytes()


def scripted(folder: Path) -> bytes:
    with zipfile.ZipFile(folder / "s.pt", "w") as archive:
        for name in ("model/data.pkl", "model/code/__torch__.py", "model/constants.pkl", "model/version"):
            archive.writestr(name, b"3\n")
    return (folder / "s.pt").read_bytes()


OTHERS: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "empty": (lambda folder: b"", "is empty; download or save it again"),
    "page": (
        lambda folder: b"<!DOCTYPE html><html>Not found</html>",
        "cannot be read: .*is the file complete",
    ),
    "pointer": (
        lambda folder: b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a",
        "cannot be read: ",
    ),
    "zeros": (lambda folder: bytes(4096), "cannot be read: "),
    "magic": (lambda folder: pickle.dumps(1234, protocol=2), "cannot be read: "),
    "tar": (tarred, "is in the tar format of the first PyTorch releases"),
    "script": (scripted, "is a TorchScript program; save the state dict"),
    "module": (
        lambda folder: saved(folder / "m.pt", network()),
        r"holds more than tensors \(torch\.nn\.modules\.",
    ),
    "legacy module": (
        lambda folder: saved(folder / "m.pt", network(), False),
        "holds more than tensors .*could run code",
    ),
    "options": (
        lambda folder: saved(
            folder / "m.pt", {"state_dict": network().state_dict(), "args": Namespace(rate=1)}
        ),
        r"holds more than tensors \(argparse\.Namespace\)",
    ),
    "pickle": (lambda folder: pickle.dumps(Evil(), protocol=2), "cannot be read|more than tensors"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_a_file_of_another_kind_is_named(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made, said = OTHERS[kind]
    (tmp_path / "w.pt").write_bytes(made(tmp_path))
    with pytest.raises(TargetError, match=f"^weights: '.*w.pt' {said}"):
        read_state(tmp_path / "w.pt")
    assert "executed" not in capsys.readouterr().out


def test_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="is a folder; give the file"):
        read_state(tmp_path)
