"""The mixture of experts: gates that choose, experts that are shared, and losses that keep both in order."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from progress_rm.models.sarm2.moe import MultiGateExperts


def made(experts: int = 5, gates: int = 3, top_k: int = 2) -> MultiGateExperts:
    torch.manual_seed(0)
    return MultiGateExperts(4, 6, 3, experts=experts, gates=gates, top_k=top_k, dropout=0.0)


@given(st.integers(1, 6), st.integers(1, 4), st.data())
def test_weights_are_a_mixture_of_few(experts: int, gates: int, data: st.DataObject) -> None:
    top_k = data.draw(st.integers(1, experts))
    layer = made(experts, gates, top_k)
    rows = 3 * torch.randn(8, 4)
    groups = torch.randn(8, gates).softmax(-1)
    mixture = layer(rows, groups)
    torch.testing.assert_close(mixture.weights.sum(1), torch.ones(8))
    assert (mixture.weights >= 0).all()
    one = layer(rows, nn.functional.one_hot(torch.zeros(8, dtype=torch.long), gates).float())
    assert ((one.weights > 0).sum(1) <= top_k).all()
    assert 0 <= mixture.entropy <= 1 + 1e-6
    assert 0 < mixture.balance <= experts + 1e-5


def test_a_row_asks_its_groups_gate_alone() -> None:
    layer = made()
    rows = torch.randn(6, 4)
    first = torch.tensor([[1.0, 0, 0]]).expand(6, -1)
    second = torch.tensor([[0, 1.0, 0]]).expand(6, -1)
    before = layer(rows, first).output
    with torch.no_grad():
        layer.gate.weight[5:10] += torch.randn(5, 4)
        layer.gate.bias[5:10] += torch.tensor([9.0, 0, 0, 0, 0])
    torch.testing.assert_close(layer(rows, first).output, before)
    moved = layer(rows, second)
    assert (moved.weights[:, 0] > 0.5).all()
    # Half of each gate is the mean of both.
    both = layer(rows, (first + second) / 2).output
    torch.testing.assert_close(both, (before + moved.output) / 2, atol=1e-5, rtol=1e-4)


def test_output_is_what_the_experts_say() -> None:
    layer = made(experts=3, gates=1, top_k=1)
    rows = torch.randn(7, 4)
    mixture = layer(rows, torch.ones(7, 1))
    for row, weights, output in zip(rows, mixture.weights, mixture.output, strict=True):
        expert = int(weights.argmax())
        x = row
        for number, (weight, bias) in enumerate(zip(layer.weights, layer.biases, strict=True)):
            x = x @ weight[expert] + bias[expert, 0]
            x = nn.functional.gelu(x) if number < 2 else x
        torch.testing.assert_close(output, x, atol=1e-5, rtol=1e-4)


def test_the_losses_say_what_they_should() -> None:
    layer = made(experts=4, gates=1, top_k=1)
    ones = torch.ones(64, 1)
    with torch.no_grad():
        layer.gate.weight.zero_()
        layer.gate.bias.copy_(torch.tensor([20.0, 0, 0, 0]))
    collapsed = layer(torch.randn(64, 4), ones)
    assert collapsed.balance.item() == pytest.approx(4, abs=1e-3)
    assert collapsed.entropy.item() == pytest.approx(0, abs=1e-3)
    with torch.no_grad():
        layer.gate.weight.copy_(20 * torch.eye(4))
        layer.gate.bias.zero_()
    even = layer(torch.eye(4).repeat(16, 1), ones)
    assert even.balance.item() == pytest.approx(1, abs=1e-3)
    assert even.entropy.item() == pytest.approx(0, abs=1e-3)


def test_the_balance_loss_brings_forgotten_experts_back() -> None:
    layer = made(experts=4, gates=1, top_k=1)
    rows, ones = torch.randn(64, 4), torch.ones(64, 1)
    with torch.no_grad():
        layer.gate.bias.copy_(torch.tensor([3.0, 0, 0, 0]))
    start = layer(rows, ones).balance.item()
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    for _ in range(60):
        loss = layer(rows, ones).balance
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert layer(rows, ones).balance.item() < min(start, 1.3)


def test_too_many_at_a_time() -> None:
    with pytest.raises(ValueError, match="between 1 and the number of experts, 5"):
        made(top_k=6)
