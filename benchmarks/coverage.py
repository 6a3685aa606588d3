"""Coverage of torchvision's classification models; writes `docs/coverage.md`.

    python benchmarks/coverage.py run                 # all models without a row, one process each
    python benchmarks/coverage.py run --again vit_b_16 swin_t
    python benchmarks/coverage.py table               # write docs/coverage.md from the rows

Models have random weights, ten classes and the smallest input that does not change their structure. Every quantisable
layer is set to 4 bits and every channel group to half of its units, at once. Rounding is plain, because untrained
weights have no accuracy to lose. Rows are in `benchmarks/results/coverage.json`.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "coverage.json"
TABLE = ROOT / "docs" / "coverage.md"
SIDES = {"inception_v3": 96, "vit_h_14": 56, "maxvit_t": 224}
"""Side of the square input of models that cannot use 64 pixels: MaxViT's windows need 224, Inception's strides 75."""
CLASSES = 10
TOLERANCE = 1e-4
"""Largest difference of the restored module's logits, relative to the largest logit: its batch norms are folded."""
FAMILIES = (
    *(
        "alexnet",
        "convnext",
        "densenet",
        "efficientnet_v2",
        "efficientnet",
        "googlenet",
        "inception",
        "maxvit",
    ),
    *("mnasnet", "mobilenet_v2", "mobilenet_v3", "regnet_x", "regnet_y", "resnext", "resnet", "shufflenet"),
    *("squeezenet", "swin_v2", "swin", "vgg", "vit", "wide_resnet"),
)


def family(model: str) -> str:
    """Return the family that a model's name begins with."""
    return next(name for name in FAMILIES if model.startswith(name))


def side(model: str) -> int:
    """Return the side of a model's input in pixels."""
    return SIDES.get(model, 64)


def network(model: str) -> Any:
    """Return the model with random weights, for inputs of its side."""
    import torch
    from torchvision import models

    options: dict[str, Any] = {"image_size": side(model)} if model.startswith("vit") else {}
    if model in ("googlenet", "inception_v3"):
        options |= {"aux_logits": False, "init_weights": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        return models.get_model(model, weights=None, num_classes=CLASSES, **options).eval()


def measure(model: str) -> dict[str, Any]:
    """Measure a model and return its row."""
    import torch

    import leanfront  # noqa: F401 - sets threads up
    from leanfront.core.compressors import Compressor, Configuration
    from leanfront.core.compressors.artifact.layout import layout
    from leanfront.core.compressors.artifact.packed_file import read, restore, write
    from leanfront.core.cost_models import count_macs
    from leanfront.core.search.prepared_target import prepare
    from leanfront.core.search.space_options import SpaceOptions
    from leanfront.core.targets import Target

    torch.set_num_threads(1)
    row: dict[str, Any] = {"model": model, "family": family(model), "input": side(model)}
    clock = time.perf_counter()
    seconds: dict[str, float] = {}

    def lap(what: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        seconds[what], clock = round(now - clock, 1), now

    own = network(model)
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(8, 3, side(model), side(model), generator=generator)
    labels = torch.arange(8) % CLASSES
    target = Target(
        model=own,
        example_input=images[:1],
        calibration=(images[:4], labels[:4]),
        validation=(images[4:], labels[4:]),
    )
    with torch.no_grad():
        expected = own(images)
        row["same_dense"] = bool((target.model(images) - expected).abs().max() <= 1e-5 * expected.abs().max())
    row["fvcore_macs"] = count_macs(own, target.example_input)
    del own
    lap("build")
    prepared = prepare(target, SpaceOptions(), ("accuracy", "memory", "macs"))
    lap("inspect")
    structure, report = prepared.structure, prepared.coverage
    row |= {
        "parameters": report.parameters,
        "groups": len(report.groups),
        "layers": len(report.layers),
        "macs": report.macs,
        "quantisable_bytes": report.quantisable_bytes,
        "prunable_bytes": report.prunable_bytes,
        "quantisable_macs": report.quantisable_macs,
        "prunable_macs": report.prunable_macs,
        "unsupported": dict(report.unsupported),
        "exclusions": [dict(each) for each in report.exclusions],
    }
    configuration = structure.canonical(
        Configuration(
            channels={name: max(1, group.units // 2) for name, group in structure.groups.items()},
            weight_bits=dict.fromkeys(structure.layers, 4),
            criterion="l1",
            method="rounding",
        )
    )
    compressed = Compressor(target, structure=structure).materialise(configuration)
    lap("compress")
    with torch.no_grad():
        logits = compressed.module(images)
    row["output_shape"] = list(logits.shape)
    row["predicted_macs"] = int(prepared.costs.of(configuration)["macs"])
    row["compressed_macs"] = count_macs(compressed.module, target.example_input)
    content = write(compressed, structure)
    row["predicted_bytes"] = layout(structure, configuration).file_bytes
    row["written_bytes"] = len(content)
    row["compressed_memory"] = prepared.costs.of(configuration)["memory_bytes"] / report.memory_bytes
    lap("write")
    restored: Any = restore(read(content), network(model), target.example_input)
    with torch.no_grad():
        again = restored(images)
    row["logits_difference"] = float((again - logits).abs().max() / logits.abs().max().clamp_min(1e-12))
    row["finite"] = bool(logits.isfinite().all())
    lap("restore")
    row["seconds"] = seconds
    return row


def shortfalls(row: dict[str, Any]) -> list[str]:
    """Return the reasons why a model does not work fully; empty for most models."""
    if "error" in row:
        return [row["error"]]
    found = []
    if not row["same_dense"]:
        found.append("the dense model changes")
    if row["output_shape"] != [8, CLASSES] or not row["finite"]:
        found.append("wrong output")
    if row["fvcore_macs"] != row["macs"]:
        found.append(f"{row['macs']} MACs where fvcore counts {row['fvcore_macs']}")
    if row["predicted_macs"] != row["compressed_macs"]:
        found.append(f"predicted {row['predicted_macs']} MACs where fvcore counts {row['compressed_macs']}")
    if row["predicted_bytes"] != row["written_bytes"]:
        found.append("the file's length differs from the prediction")
    if not row["logits_difference"] <= TOLERANCE:
        found.append(f"restored logits differ by {row['logits_difference']:.1e}")
    if not row["quantisable_macs"] > 0.5:
        found.append("most of the MACs are not quantisable")
    if not row["groups"]:
        found.append("no channel group")
    return found


def _rows() -> dict[str, dict[str, Any]]:
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def _keep(row: dict[str, Any]) -> None:
    rows = _rows() | {row["model"]: row}
    beside = RESULTS.with_suffix(".part")
    beside.write_text(json.dumps(dict(sorted(rows.items())), indent=1) + "\n")
    beside.replace(RESULTS)


@click.group()
def main() -> None:
    """Coverage of torchvision's classification models."""


@main.command("one")
@click.argument("model")
@click.argument("gigabytes", type=float)
def one(model: str, gigabytes: float) -> None:
    """Print one model's row as JSON."""
    limit = int(gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    row = measure(model)
    row["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(row))


@main.command("run")
@click.argument("models", nargs=-1)
@click.option("--again", is_flag=True, help="Also measure models that have a row.")
@click.option("--minutes", default=15.0, show_default=True, help="Time limit for each model.")
@click.option("--gigabytes", default=10.0, show_default=True, help="Memory limit for each model.")
def run(models: tuple[str, ...], again: bool, minutes: float, gigabytes: float) -> None:
    """Measure the named models, or all of them, smallest first, in one process each."""
    from torchvision import models as zoo

    known = zoo.list_models(module=zoo)
    for model in models or sorted(known, key=_size):
        if not again and model in _rows():
            continue
        command = [sys.executable, __file__, "one", model, str(gigabytes)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        begun = time.monotonic()
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=60 * minutes,
                cwd=ROOT,
                env=environment,
                check=False,
            )
            if done.returncode == 0:
                row = json.loads(done.stdout.strip().splitlines()[-1])
            else:
                errors = done.stderr.strip().splitlines()
                row = {"error": errors[-1] if errors else f"the process ended with {done.returncode}"}
        except subprocess.TimeoutExpired:
            row = {"error": f"not done after {minutes:g} minutes"}
        row = {"model": model, "family": family(model), "input": side(model)} | row
        _keep(row)
        said = "; ".join(shortfalls(row)) or "works"
        click.echo(f"{model}: {said} ({time.monotonic() - begun:.0f} s)")


def _size(model: str) -> float:
    from torchvision import models as zoo

    return float(zoo.get_model_weights(model).DEFAULT.meta["num_params"])


KINDS = (
    ("model's outputs", "the model's outputs"),
    ("cut model does not run", "cutting breaks code that counts on the number of channels"),
    ("channels are mixed", "channels are mixed on the way"),
    ("cannot be followed", "the dependency graph cannot follow them"),
    ("other than expected", "other channels than expected are cut"),
    ("does not change the output measurably", "cutting changes too little to be proven"),
    ("not finite", "outputs that are not finite"),
    ("no rule for this module", "parameters outside known modules"),
    ("unequal shares", "unequal shares of a layer"),
)


def _kind(reason: str) -> str:
    return next((said for part, said in KINDS if part in reason), reason)


def left_alone(row: dict[str, Any]) -> str:
    """Count the parts that keep their channels or bits, by reason."""
    found = Counter(_kind(each["reason"]) for each in row["exclusions"] if each["what"] != "refit")
    found.pop("the model's outputs", None)  # in every model
    return "; ".join(f"{count} x {kind}" for kind, count in found.most_common()) or "-"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _line(row: dict[str, Any]) -> str:
    if "error" in row:
        return f"| {row['model']} | {row['input']} |  |  |  |  |  |  |  | **{row['error']}** |"
    short = shortfalls(row)
    cells = (
        row["model"],
        row["input"],
        f"{row['parameters'] / 1e6:.1f}",
        row["groups"],
        row["layers"],
        f"{_percent(row['quantisable_bytes'])} / {_percent(row['quantisable_macs'])}",
        f"{_percent(row['prunable_bytes'])} / {_percent(row['prunable_macs'])}",
        f"{row['macs'] / 1e6:,.1f} -> {row['compressed_macs'] / 1e6:,.1f}",
        f"{100 * row['compressed_memory']:.1f}%",
        "**" + "; ".join(short) + "**" if short else left_alone(row),
    )
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


HEAD = """# Coverage of torchvision's classification models

Generated by `python benchmarks/coverage.py run` and `table`; the rows are in `benchmarks/results/coverage.json`.

Every model of `torchvision.models.list_models(module=torchvision.models)` is tested with random weights and ten
classes, in a process of its own. Every quantisable layer is set to 4 bits and every channel group is cut to half of
its units, all at once. A model *works* if

- the target's copy gives the same outputs as the model, and fvcore counts the same multiply-adds for both;
- the compressed module runs, and its output is finite and has the dense model's shape;
- the multiply-adds predicted before the module is built equal fvcore's count of the built module exactly;
- the length of the artifact equals the predicted length exactly;
- the module restored from the artifact gives the same logits, up to 1e-4 of the largest (batch norms are folded to
  scale and shift; without batch norms the logits are equal bit for bit);
- it has channel groups, and most of its multiply-adds are in layers whose bits can be chosen.

"""

NOTES = """
Shares are percentages of the dense model's bytes and multiply-adds. *Left alone* counts the items in the report of
`leanfront inspect`, except for the class scores, which every model keeps. Multiply-adds outside of layers are those
of batch norm, pooling and attention's products of activations.

Inputs are 64 x 64 if the model accepts them. Exceptions: 96 for Inception, whose strides need at least 75; 224 for
MaxViT, whose windows need it; 56 for ViT-H/14 with its patches of 14. Vision transformers are built for this size,
and shares of multiply-adds depend on it.

- **ViT, Swin, MaxViT**: attention heads and the hidden units of the MLPs are channel groups. The width of the
  residual stream stays, since the code reshapes to it.
- **ShuffleNet**: the channels inside a block's branch are cut. Shuffled channels stay.
"""


@main.command("table")
def table() -> None:
    """Write docs/coverage.md from the rows."""
    from torchvision import models as zoo

    rows = _rows()
    known = zoo.list_models(module=zoo)
    working = [model for model in known if model in rows and not shortfalls(rows[model])]
    missing = [model for model in known if model not in rows]
    found = [f"{len(working)} of {len(known)} models work.", ""]
    if missing:
        found += [f"Not measured: {', '.join(missing)}.", ""]
    found += [
        "| model | input | parameters, M | groups | layers | quantisable, bytes / MACs | prunable, bytes / MACs "
        "| MACs, M: dense -> compressed | memory | left alone |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    found += [
        _line(rows[model]) for model in sorted(rows, key=lambda m: (family(m), rows[m].get("parameters", 0)))
    ]
    TABLE.write_text(HEAD + "\n".join(found) + "\n" + NOTES)


if __name__ == "__main__":
    main()
