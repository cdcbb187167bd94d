"""The model, the data, and what is done with them."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    """A small convolution with a batch norm, whose buffers are part of the state dict."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4 * 6 * 6, 3)

    def forward(self, x):
        return self.fc(torch.flatten(F.relu(self.norm(self.conv(x))), 1))


def load_data(partition_id: int, num_partitions: int):
    """Return this partition's batches: each has a size of its own."""
    draws = torch.Generator().manual_seed(partition_id)
    size = 24 + 8 * partition_id
    labels = torch.randint(3, (size,), generator=draws)
    images = torch.randn(size, 1, 8, 8, generator=draws) + labels[:, None, None, None]
    held = size // 4
    train, test = (
        TensorDataset(images[held:], labels[held:]),
        TensorDataset(images[:held], labels[:held]),
    )
    return DataLoader(train, batch_size=8), DataLoader(test, batch_size=8)


def train(net, trainloader, epochs, lr):
    """Train the model on the training set; return the mean loss."""
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    net.train()
    running_loss = 0.0
    for _ in range(epochs):
        for images, labels in trainloader:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(images), labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
    return running_loss / (epochs * len(trainloader))


@torch.no_grad()
def test(net, testloader):
    """Return loss and accuracy on the test set."""
    net.eval()
    correct, loss = 0, 0.0
    for images, labels in testloader:
        outputs = net(images)
        loss += F.cross_entropy(outputs, labels, reduction="sum").item()
        correct += (outputs.argmax(1) == labels).sum().item()
    size = len(testloader.dataset)
    return loss / size, correct / size
