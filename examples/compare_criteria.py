"""Compare the pruning criteria on one uniform configuration, without a search.

python examples/compare_criteria.py [--keep 0.75] [--bits 4] [--target digits]
"""

from __future__ import annotations

import argparse

import torch
from torch import nn

import leanfront


def uniform(
    structure: leanfront.Structure, keep: float, bits: int, criterion: str
) -> leanfront.Configuration:
    """Return a configuration with the same share of every channel group and the same bits in every layer."""
    return leanfront.Configuration(
        channels={group.name: max(1, round(keep * group.units)) for group in structure.groups.values()},
        weight_bits=dict.fromkeys(structure.layers, bits),
        criterion=criterion,
    )


def accuracy(model: nn.Module, split: leanfront.Split) -> float:
    """Return the top-1 accuracy, in [0, 1]."""
    with torch.no_grad():
        hits = sum(int((model(x).argmax(dim=1) == y).sum()) for x, y in split.batches(256))
    return hits / len(split)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--keep", type=float, default=0.75, help="share of the channels to keep")
    parser.add_argument("--bits", type=int, default=4, help="bits of each weight")
    parser.add_argument("--target", default="digits", help="target, as on leanfront's command line")
    arguments = parser.parse_args()

    target = leanfront.resolve(arguments.target)
    structure = leanfront.derive(target.model, target.example_input)
    print(f"dense      {accuracy(target.model, target.validation):.4f}")
    for name, criterion in leanfront.CRITERIA.items():
        configuration = uniform(structure, arguments.keep, arguments.bits, name)
        module = leanfront.compress(target, configuration)
        print(f"{name:9}  {accuracy(module, target.validation):.4f}  {criterion.source}")


if __name__ == "__main__":
    main()
