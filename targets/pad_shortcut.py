"""The parameter-free shortcut of the CIFAR ResNets, as a module that can be cut.

He et al. 2015 (arXiv 1512.03385, section 3.3, option A): where a stage halves the resolution and widens, the
shortcut subsamples the input and pads the new channels with zeros. Written as slicing and padding inside a
`forward`, it hides from dependency graphs which output channel is which input channel; written with an
explicit index, both sides can be cut on their own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PadShortcut(nn.Module):
    """Subsample in space, then copy or zero each output channel as `index` says.

    Attributes:
        index: int16 buffer (out_channels,): the input channel that each output channel copies, or -1 for
            zeros. It is not part of the state dict: public checkpoints of these networks have no such entry.
            Cutting channels means replacing it together with `in_channels` and `out_channels`.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, at least `in_channels`; the zeros are split evenly before and
            behind the copied channels, the odd one behind.
        stride: subsampling step in both directions of space.
    """

    index: Tensor

    def __init__(self, in_channels: int, out_channels: int, stride: int = 2) -> None:
        super().__init__()
        if not 0 < in_channels <= out_channels:
            raise ValueError(
                f"out_channels ({out_channels}) must be at least in_channels ({in_channels}) > 0"
            )
        if stride < 1:
            raise ValueError(f"stride must be at least 1, not {stride}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.stride = stride
        before = (out_channels - in_channels) // 2
        index = torch.full((out_channels,), -1, dtype=torch.int16)
        index[before : before + in_channels] = torch.arange(in_channels, dtype=torch.int16)
        self.register_buffer("index", index, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, in_channels, h, w) -> (n, out_channels, ceil(h / stride), ceil(w / stride))."""
        x = x[:, :, :: self.stride, :: self.stride]
        zeros = x.new_zeros(x.shape[0], 1, x.shape[2], x.shape[3])
        # The zeros stand last, where the index -1 points: one gather, and no operator that counts as compute.
        return torch.cat((x, zeros), dim=1)[:, self.index.long()]

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, stride={self.stride}"
