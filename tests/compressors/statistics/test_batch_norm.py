from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from leanfront.core.compressors.statistics.batch_norm import anchor, reestimate, statistics


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)
        self.norm = nn.BatchNorm2d(5, momentum=0.3)
        self.dropout = nn.Dropout(0.5)
        self.second = nn.BatchNorm2d(5)
        self.unused = nn.BatchNorm2d(5)
        self.instance = nn.BatchNorm2d(5, track_running_stats=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.dropout(torch.relu(self.norm(self.conv(x))))
        return self.instance(self.second(x)).mean((2, 3))


def filled() -> Net:
    net = Net().eval()
    for norm in (net.norm, net.second, net.unused):
        norm.running_mean.fill_(3.0)
        norm.running_var.fill_(7.0)
    return net


def test_statistics_by_hand() -> None:
    net = filled()
    batches = [torch.randn(4, 3, 6, 6), 2 + torch.randn(4, 3, 6, 6)]
    assert reestimate(net, batches) == 2
    with torch.no_grad():
        outputs = [net.conv(batch) for batch in batches]
        mean = torch.stack([y.mean((0, 2, 3)) for y in outputs]).mean(0)
        variance = torch.stack([y.transpose(0, 1).flatten(1).var(1) for y in outputs]).mean(0)
        torch.testing.assert_close(net.norm.running_mean, mean)
        torch.testing.assert_close(net.norm.running_var, variance)
        # The second norm reads what the first makes with each batch's own statistics; dropout is off.
        after = []
        for y in outputs:
            centred = (y - y.mean((0, 2, 3), keepdim=True)) / (
                y.var((0, 2, 3), unbiased=False, keepdim=True) + net.norm.eps
            ).sqrt()
            after.append(torch.relu(centred).mean((0, 2, 3)))
        torch.testing.assert_close(net.second.running_mean, torch.stack(after).mean(0))


def test_nothing_else_changes() -> None:
    net = filled()
    before = copy.deepcopy(net.state_dict())
    reestimate(net, [torch.randn(4, 3, 6, 6)])
    assert (net.norm.momentum, net.second.momentum) == (0.3, 0.1)
    assert not any(module.training for module in net.modules())
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    for key, value in net.state_dict().items():
        if not key.endswith(statistics):
            assert torch.equal(value, before[key])
    assert torch.equal(net.unused.running_mean, before["unused.running_mean"])
    assert torch.equal(net.unused.running_var, before["unused.running_var"])


def test_batches_of_one_sample_are_skipped() -> None:
    net, other = filled(), filled()
    other.load_state_dict(net.state_dict())
    batch = torch.randn(4, 3, 6, 6)
    reestimate(net, [batch])
    assert reestimate(other, [batch[:1], batch, batch[:1]]) == 2
    assert torch.equal(net.norm.running_mean, other.norm.running_mean)


def test_without_a_readable_batch_statistics_stay() -> None:
    net = filled()
    before = copy.deepcopy(net.state_dict())
    for batches in ([], [torch.randn(1, 3, 6, 6)]):
        assert reestimate(net, batches) == 0
        assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_a_failing_model_is_left_in_eval_mode() -> None:
    net = filled()
    try:
        reestimate(net, [torch.randn(4, 7, 6, 6)])
    except RuntimeError:
        pass
    else:
        raise AssertionError("the model accepts seven channels")
    assert not net.norm.training
    assert net.norm.momentum == 0.3
    assert net.norm.running_mean[0] == 3


def test_a_model_without_norms(nets: Any) -> None:
    assert reestimate(nets["flatten"].build(), [torch.randn(2, 3, 8, 8)]) == 0


def _net() -> nn.Sequential:
    torch.manual_seed(3)
    net = nn.Sequential(nn.Conv2d(2, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten())
    norm = net[1]
    assert isinstance(norm, nn.BatchNorm2d)
    norm.running_mean = torch.randn(6)
    norm.running_var = torch.rand(6) + 0.5
    return net.eval()


def test_anchored_statistics_of_an_unchanged_model_are_its_own() -> None:
    net, images = _net(), torch.randn(40, 2, 6, 6)
    own = statistics(net)
    sampled = copy.deepcopy(net)
    reestimate(sampled, [images])
    again = copy.deepcopy(net)
    reestimate(again, [images])
    assert not torch.allclose(statistics(again)["1"][0], own["1"][0], atol=0.1)
    anchor(again, own, statistics(sampled))
    for new, old in zip(statistics(again)["1"], own["1"], strict=True):
        torch.testing.assert_close(new, old)


def test_anchored_statistics_follow_a_scale_and_a_shift() -> None:
    """Weights doubled and a bias of 3: every mean is twice the old one plus 3, every variance four times."""
    net, images = _net(), torch.randn(40, 2, 6, 6)
    own = statistics(net)
    sampled = copy.deepcopy(net)
    reestimate(sampled, [images])
    drawn = statistics(sampled)["1"][0]
    changed = copy.deepcopy(net)
    convolution = changed[0]
    assert isinstance(convolution, nn.Conv2d)
    with torch.no_grad():
        convolution.weight.mul_(2)
    convolution.bias = nn.Parameter(torch.full((6,), 3.0))
    reestimate(changed, [images])
    anchor(changed, own, statistics(sampled))
    mean, variance = statistics(changed)["1"]
    torch.testing.assert_close(mean, own["1"][0] + (2 * drawn + 3 - drawn))
    torch.testing.assert_close(variance, 4 * own["1"][1])


def test_a_channel_silent_on_the_sample_takes_what_is_measured() -> None:
    net, images = _net(), torch.zeros(8, 2, 6, 6)
    own = statistics(net)
    sampled = copy.deepcopy(net)
    reestimate(sampled, [images])
    reestimate(net, [images])
    anchor(net, own, statistics(sampled))
    assert bool(torch.isfinite(statistics(net)["1"][1]).all())
