"""Train your own residual net on your own images in PyTorch: two lines change, marked ←.

Here the images are scikit-learn's digits; standardize yours in the same way.
"""

import sys

import torch
from sklearn.datasets import load_digits
from torch import nn

from noiseproof.torch import LearnedOptimizer  # ← was: from torch.optim import AdamW

num_steps = int(sys.argv[1]) if len(sys.argv) > 1 else 600
torch.manual_seed(0)
images, labels = map(torch.tensor, load_digits(return_X_y=True))
test, train = torch.randperm(len(labels)).split([397, len(labels) - 397])
images = ((images - images[train].mean()) / images[train].std()).float().reshape(-1, 1, 8, 8)


class Block(nn.Module):
    """A convolution with batch norm, and the way around it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.inside = nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU())

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features of the next layer."""
        return features + self.inside(features)


body = nn.Conv2d(1, 16, 3, padding=1), Block(16), nn.Conv2d(16, 32, 3, stride=2), Block(32)
model = nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))
epoch = len(train) / 64  # of a DataLoader: its length
optimizer = LearnedOptimizer(  # ← was: AdamW(model.parameters())
    model, num_steps=num_steps, steps_per_epoch=epoch
)

for _ in range(num_steps):
    batch = train[torch.randint(len(train), (64,))]
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
    optimizer.step()

for name, noise in (("clean", 0.0), ("noise 1", 1.0)):
    noisy = images[test] + noise * torch.randn_like(images[test])
    accuracy = (model.eval()(noisy).argmax(dim=1) == labels[test]).float().mean().item()
    print(f"{name:8s} {accuracy:.3f}  (one classifier, {len(test)} test images)")
