"""The model, the data and what is done with them."""

from functools import cache

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    """Two layers."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    def forward(self, x):
        return self.layers(x)


@cache
def load_data(partition_id, num_partitions):
    """Return the training and the test set of one node: every num_partitions-th digit."""
    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images[partition_id::num_partitions] / 16, dtype=torch.float32)
    y = torch.tensor(labels[partition_id::num_partitions])
    held = len(y) // 5
    return TensorDataset(x[held:], y[held:]), TensorDataset(x[:held], y[:held])


def train(net, data, epochs, lr, batch_size, seed):
    """Train the model; return the mean loss."""
    draws = torch.Generator().manual_seed(seed)
    loader = DataLoader(data, batch_size=batch_size, shuffle=True, generator=draws)
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    total = 0.0
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
    return total / (epochs * len(loader))


@torch.no_grad()
def test(net, data):
    """Return loss and accuracy on a set."""
    x, y = data.tensors
    scores = net(x)
    loss = nn.functional.cross_entropy(scores, y).item()
    return loss, (scores.argmax(1) == y).float().mean().item()
