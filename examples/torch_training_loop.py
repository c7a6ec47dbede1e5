"""Train your own residual net in PyTorch with a learned optimizer: two changed lines, marked ←.

    python examples/torch_training_loop.py 600

The images are scikit-learn's digits; put your own in their place, standardized in the same way.
"""

import sys

import torch
from sklearn.datasets import load_digits
from torch import nn

from noiseproof.torch import LearnedOptimizer  # ← was: from torch.optim import AdamW

num_steps = int(sys.argv[1]) if len(sys.argv) > 1 else 600
torch.manual_seed(0)
digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32)[:, None]
images = (images - images.mean()) / images.std()
labels = torch.tensor(digits.target)
order = torch.randperm(len(labels))
test, train = order[:397], order[397:]


class Block(nn.Module):
    """Two convolutions with batch norm, and the way around them."""

    def __init__(self, fan_in: int, fan_out: int, stride: int) -> None:
        super().__init__()
        first = nn.Conv2d(fan_in, fan_out, 3, stride, 1, bias=False), nn.BatchNorm2d(fan_out)
        second = nn.Conv2d(fan_out, fan_out, 3, 1, 1, bias=False), nn.BatchNorm2d(fan_out)
        self.inside = nn.Sequential(*first, nn.ReLU(), *second)
        self.around = nn.Conv2d(fan_in, fan_out, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features of the next block."""
        return torch.relu(self.around(features) + self.inside(features))


stem = nn.Conv2d(1, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU()
blocks = Block(8, 8, 1), Block(8, 16, 2), Block(16, 32, 2)
model = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))
optimizer = LearnedOptimizer(model, num_steps=num_steps)  # ← was: AdamW(model.parameters())

for _ in range(num_steps):
    batch = train[torch.randint(len(train), (64,))]
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
    optimizer.step()

model.eval()
with torch.no_grad():
    for name, noise in (("clean", 0.0), ("noise 1", 1.0)):
        noisy = images[test] + noise * torch.randn_like(images[test])
        accuracy = (model(noisy).argmax(dim=1) == labels[test]).float().mean().item()
        print(f"{name:8s} {accuracy:.3f}  (one classifier, {len(test)} test images)")
