from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from leanfront.core.cost_models import analyse, count_macs, unsupported
from leanfront.errors import EvaluationError


class Dot(nn.Module):
    """Attention with all its sizes different."""

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = x[..., :5, :6], x[..., :7, :6], x[..., :7, :4]
        return functional.scaled_dot_product_attention(query, key, value)


def test_scaled_dot_products_by_hand() -> None:
    x = torch.randn(2, 3, 8, 8)
    assert count_macs(Dot().eval(), x) == 2 * 3 * 5 * 7 * (6 + 4)


class Summed(nn.Module):
    """A contraction of 1,000 and more multiply-adds, which NumPy would print with three digits."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("B H I D, B H J D -> B H I J", x, x[:, :, :7])


def test_contractions_are_exact() -> None:
    assert count_macs(Summed().eval(), torch.randn(2, 3, 13, 11)) == 2 * 3 * 13 * 7 * 11


class Attend(nn.Module):
    def __init__(self, need_weights: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(12, 3, batch_first=True)
        self.need_weights = need_weights

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, need_weights=self.need_weights)[0]


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("batch", [1, 2])
def test_multi_head_attention_by_hand(need_weights: bool, batch: int) -> None:
    enabled = torch.backends.mha.get_fastpath_enabled()
    found = count_macs(Attend(need_weights).eval(), torch.randn(batch, 7, 12))
    # Four projections of 7 tokens, 12 x 12 each, and two products of 7 x 7 tokens over 12 features.
    assert found == batch * (4 * 7 * 144 + 2 * 49 * 12)
    assert torch.backends.mha.get_fastpath_enabled() is enabled


class Fused(nn.Module):
    """The fused operator itself, called by name."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(12, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.inner
        return torch._native_multi_head_attention(
            x,
            x,
            x,
            12,
            3,
            inner.in_proj_weight,
            inner.in_proj_bias,
            inner.out_proj.weight,
            inner.out_proj.bias,
        )[0]


def test_the_fused_operator_counts_the_same() -> None:
    x = torch.randn(2, 7, 12)
    assert count_macs(Fused().eval(), x) == count_macs(Attend(False).eval(), x)
    assert unsupported(analyse(Fused().eval(), x)) == {}


def test_layers_by_hand() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 5)
    ).eval()
    assert count_macs(model, torch.randn(1, 3, 8, 8)) == 36 * 8 * 27 + 2 * 36 * 8 + 288 * 5


class Spectrum(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x = torch.fft.rfft(functional.gelu(x)).abs() + x.softmax(-1).sum()
        return torch.linalg.inv(x[:, :5, :5])


def test_what_cannot_be_counted_is_reported_and_what_is_free_is_not() -> None:
    assert unsupported(analyse(Spectrum().eval(), torch.randn(1, 8, 8))) == {
        "aten::fft_rfft": 1,
        "aten::linalg_inv": 1,
    }


class Free(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x = functional.hardswish(functional.relu6(x) * 2 + 1).clamp(0, 4)
        x = functional.max_pool2d(functional.silu(x), 2) - functional.sigmoid(x[..., ::2, ::2])
        return functional.log_softmax(torch.cat((x, x), 1).mean((2, 3)), 1)


def test_free_operators() -> None:
    analysis = analyse(Free().eval(), torch.randn(1, 3, 8, 8))
    assert unsupported(analysis) == {}
    assert analysis.total() == 0


def test_tracing_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        analyse(Spectrum().eval(), torch.randn(1, 8, 8))
    assert capfd.readouterr() == ("", "")


def test_a_module_that_fails_says_why() -> None:
    with pytest.raises(EvaluationError, match=r"cannot be traced, so its MACs are unknown \(RuntimeError: "):
        count_macs(nn.Linear(3, 2).eval(), torch.randn(1, 4))
