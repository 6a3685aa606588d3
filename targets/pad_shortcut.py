"""Parameter-free shortcut of the CIFAR ResNets, as a module that can be cut.

He et al. 2015 (arXiv 1512.03385, section 3.3, option A): if a stage halves the resolution and adds channels, the
shortcut subsamples the input and fills the new channels with zeros. Slicing and padding inside a `forward` would hide
the relation of output to input channels from dependency graphs. With an explicit index, both sides can be cut
independently.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PadShortcut(nn.Module):
    """Shortcut that subsamples in space, and copies or zeroes each output channel according to `index`.

    Attributes:
        index: int16 buffer (out_channels,): the input channel that each output channel copies, or -1 for zeros. It is
            not part of the state dict, since public checkpoints of these networks lack it. To cut channels, replace
            it together with `in_channels` and `out_channels`.

    Args:
        in_channels: number of input channels.
        out_channels: number of output channels, at least `in_channels`. Zero channels are placed evenly before and
            after the copied channels, with an odd one after.
        stride: subsampling step in both spatial directions.
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
        """Map (n, in_channels, h, w) to (n, out_channels, ceil(h / stride), ceil(w / stride))."""
        x = x[:, :, :: self.stride, :: self.stride]
        zeros = x.new_zeros(x.shape[0], 1, x.shape[2], x.shape[3])
        # The zeros come last, where index -1 points: one gather, without operators that count as compute.
        return torch.cat((x, zeros), dim=1)[:, self.index.long()]

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, stride={self.stride}"
