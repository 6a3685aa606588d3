"""Compress your own model with the Python API, from training to the module to ship.

python examples/own_model.py [--trials 60] [--max-memory 8KB] [--database sqlite:///own_model.db]
"""

from __future__ import annotations

import argparse

import torch
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

import leanfront


def make_target() -> leanfront.Target:
    """Return a small perceptron on scikit-learn's wines: 13 chemical measurements, 3 cultivars, 178 samples."""
    wine = load_wine()
    order = torch.randperm(len(wine.target), generator=torch.Generator().manual_seed(0))
    train, validation, test = order[:80], order[80:130], order[130:]
    scaler = StandardScaler().fit(wine.data[train])
    inputs = torch.from_numpy(scaler.transform(wine.data)).float()
    labels = torch.from_numpy(wine.target).long()
    return leanfront.Target(
        model=trained(inputs[train], labels[train]),
        example_input=inputs[:1],
        train=(inputs[train], labels[train]),
        validation=(inputs[validation], labels[validation]),
        test=(inputs[test], labels[test]),
        classes=list(wine.target_names),
        name="wine",
    )


def trained(inputs: Tensor, labels: Tensor) -> nn.Module:
    """Train two hidden layers of 64 units for 200 full-batch steps."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(13, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    for _ in range(200):
        loss = nn.functional.cross_entropy(model(inputs), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--max-memory", default="8KB")
    parser.add_argument("--database", default="sqlite:///own_model.db")
    arguments = parser.parse_args()

    target = make_target()
    result = leanfront.search(target, trials=arguments.trials, database=arguments.database, progress=True)
    for candidate in result.frontier():
        test = candidate.value("accuracy", "test")
        print(
            f"{candidate.id:4}  {candidate.accuracy:.3f}  test {test:.3f}  {candidate.memory_bytes:,.0f} bytes"
        )

    try:
        best = result.select(max_memory=arguments.max_memory)
    except leanfront.errors.InfeasibleError as error:
        raise SystemExit(str(error)) from None
    module = best.module()
    parameters = sum(parameter.numel() for parameter in module.parameters())
    dense = sum(parameter.numel() for parameter in target.model.parameters())
    print(f"\nwithin {arguments.max_memory}: candidate {best.id} of search '{result.name}'")
    print(f"{parameters:,} of {dense:,} parameters are left; bits: {dict(best.configuration.weight_bits)}")


if __name__ == "__main__":
    main()
