"""Sizes of a target's files, predicted and written, and the agreement of ONNX files with the module.

    python benchmarks/files.py 'cifar10-resnet20?data=DIR&weights=FILE'

Compression uses the default method. Agreement is the share of the validation split on which both predict the same
class. Prints Markdown.
"""

from __future__ import annotations

import click
import torch

from leanfront.core.compressors import Compressor, Configuration, Structure
from leanfront.core.compressors.artifact.layout import layout
from leanfront.core.compressors.exchange.formats import FORMATS
from leanfront.core.compressors.exchange.onnx_outputs import onnx_session
from leanfront.core.compressors.statistics.outputs import batch_size, correct, outputs
from leanfront.core.targets import resolve
from leanfront.core.targets.architectures import architecture_name


def configurations(structure: Structure) -> dict[str, Configuration]:
    """Return the compared configurations by their names in the table."""
    layers = structure.layers
    eight = {"weight_bits": dict.fromkeys(layers, 8), "activation_bits": dict.fromkeys(layers, 8)}
    three_quarters = {name: max(1, 3 * group.units // 4) for name, group in structure.groups.items()}
    return {
        "float32": Configuration(),
        "4-bit weights": Configuration(weight_bits=dict.fromkeys(layers, 4)),
        "int8": Configuration(**eight),
        "three quarters of the channels": Configuration(channels=three_quarters),
        "three quarters of the channels, int8": Configuration(channels=three_quarters, **eight),
    }


@click.command()
@click.argument("reference", metavar="TARGET")
def main(reference: str) -> None:
    """Measure the files of TARGET and their accuracy in ONNX Runtime."""
    target = resolve(reference)
    compressor = Compressor(target)
    structure = compressor.structure
    size = batch_size(target.example_input)
    print(
        "| model | configuration | packed, promised | written | ONNX | accuracy | ONNX Runtime's | agreement |\n"
        "|---|---|---|---|---|---|---|---|"
    )
    for what, configuration in configurations(structure).items():
        canonical = structure.canonical(configuration)
        promised = layout(structure, canonical, architecture_name(target)).file_bytes
        compressed = compressor.materialise(canonical)
        packed = FORMATS["safetensors"].write(compressed, structure, target)
        content = FORMATS["onnx"].write(compressed, structure, target)
        ours, labels = outputs(compressed.module, target.validation, size, torch.device("cpu"))
        session = onnx_session(content, torch.get_num_threads())
        (name,) = (each.name for each in session.get_inputs())
        theirs = torch.cat(
            [
                torch.from_numpy(session.run(None, {name: inputs.contiguous().numpy()})[0])
                for inputs, _ in target.validation.batches(size, torch.device("cpu"))
            ]
        )
        agreement = (ours.argmax(1) == theirs.argmax(1)).double().mean()
        accuracies = [float(correct(logits, labels).double().mean()) for logits in (ours, theirs)]
        print(
            f"| {target.name.partition('?')[0]} | {what} | {promised:,} | {len(packed):,} | {len(content):,} "
            f"| {accuracies[0]:.4f} | {accuracies[1]:.4f} | {agreement:.2%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
