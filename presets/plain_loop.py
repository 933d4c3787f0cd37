"""Networks trained by a plain loop, which presets/checkpoints.yaml then measures. Copy both files and change them.

Run in their folder, `python plain_loop.py` writes the weights of every network before and after training to `runs/`.
"""

from pathlib import Path

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

WIDTHS, SEEDS, EPOCHS, BATCH_SIZE, LEARNING_RATE = (16, 64), 5, 20, 64, 0.1


def build(width: int) -> nn.Sequential:
    """The network; the configuration names this function."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)
    )


def digits() -> tuple[torch.Tensor, ...]:
    """Training and test images, pixels in 0 .. 1, and their labels, split as the data set `digits` of Isthmus."""
    images, labels = load_digits(return_X_y=True)
    images, labels = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16, torch.tensor(labels)
    train, test = train_test_split(range(len(labels)), test_size=360, stratify=labels, random_state=0)
    return images[train], images[test], labels[train], labels[test]


def train(width: int, seed: int, images: torch.Tensor, labels: torch.Tensor) -> None:
    """Train one network and write its weights."""
    torch.manual_seed(seed)
    network = build(width)
    folder = Path("runs", f"width{width}")
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), folder / f"initial{seed}.pt")
    optimizer = torch.optim.SGD(network.parameters(), lr=LEARNING_RATE, momentum=0.9)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images)).split(BATCH_SIZE):
            loss = nn.functional.cross_entropy(network(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    torch.save({"epoch": EPOCHS, "model": network.state_dict()}, folder / f"seed{seed}.pt")


if __name__ == "__main__":
    train_images, _, train_labels, _ = digits()
    for width in WIDTHS:
        for seed in range(SEEDS):
            train(width, seed, train_images, train_labels)
