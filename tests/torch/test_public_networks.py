"""Roles of networks as torchvision and timm build them, whose blocks set traps of their own.

What must be read is stated for each by hand. Each is read twice: by the order of its modules, and
by a forward pass, which must say the same wherever the former is not refused.
"""

import pytest

torch = pytest.importorskip("torch", reason="the extra [torch] is not installed")

nn, functional = torch.nn, torch.nn.functional
NUM_CLASSES = 7


def conv(fan_in, fan_out, size=3, stride=1, **options):
    return nn.Conv2d(fan_in, fan_out, size, stride, size // 2, **options)


def pooled(x):
    return x.mean((2, 3))


class DenseLayer(nn.Module):
    def __init__(self, width, growth=4):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(width), conv(width, 16, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(16), conv(16, growth, bias=False)

    def forward(self, x):
        y = self.conv1(torch.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(torch.relu(self.norm2(y)))], dim=1)


class DenseNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential()
        self.features.add_module("conv0", conv(3, 8, bias=False))
        self.features.add_module("norm0", nn.BatchNorm2d(8))
        self.features.add_module("denselayer1", DenseLayer(8))
        self.features.add_module("denselayer2", DenseLayer(12))
        self.features.add_module("transition", conv(16, 8, 1, bias=False))
        self.classifier = nn.Linear(8, NUM_CLASSES)

    def forward(self, x):
        return self.classifier(pooled(self.features(x)))


class SqueezeExcitation(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1, self.fc2 = conv(width, 2, 1), conv(2, width, 1)

    def forward(self, x):
        gate = self.fc2(functional.silu(self.fc1(x.mean((2, 3), keepdim=True))))
        return torch.sigmoid(gate) * x


class MBConv(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.expand, self.bn1 = conv(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.dw = conv(4 * width, 4 * width, 5, groups=4 * width, bias=False)
        self.se = SqueezeExcitation(4 * width)
        self.project, self.bn2 = conv(4 * width, width, 1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x):
        y = self.se(functional.silu(self.dw(functional.silu(self.bn1(self.expand(x))))))
        return x + self.bn2(self.project(y))


def efficient_net():
    head = conv(8, 24, 1, bias=False), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(
        conv(3, 8, stride=2, bias=False), nn.BatchNorm2d(8), MBConv(8), MBConv(8), *head,
        nn.Dropout(), nn.Linear(24, NUM_CLASSES),
    )  # fmt: skip


class RepVgg(nn.Module):
    """Filters of three points and of one beside each other, from the image on."""

    def __init__(self):
        super().__init__()
        self.conv_kxk, self.conv_1x1 = conv(3, 8), conv(3, 8, 1)
        self.head = nn.Linear(8, NUM_CLASSES)

    def forward(self, x):
        return self.head(pooled(torch.relu(self.conv_kxk(x) + self.conv_1x1(x))))


class GlobalResponse(nn.Module):
    """ConvNeXt v2's, as timm writes it: the shift stands first in a sum of products."""

    def __init__(self, width):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x):
        strength = x.norm(p=2, dim=(1, 2), keepdim=True)
        strength = strength / (strength.mean(-1, keepdim=True) + 1e-6)
        return x + torch.addcmul(self.bias, self.weight, x * strength)


class ConvNeXtV2(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, 4)
        self.conv_dw, self.norm = conv(8, 8, 7, groups=8), nn.LayerNorm(8)
        self.fc1, self.grn, self.fc2 = nn.Linear(8, 32), GlobalResponse(32), nn.Linear(32, 8)
        self.head = nn.Linear(8, NUM_CLASSES)

    def forward(self, x):
        x = self.stem(x)
        y = self.grn(self.fc1(self.norm(self.conv_dw(x).permute(0, 2, 3, 1))))
        return self.head(pooled(x + self.fc2(y).permute(0, 3, 1, 2)))


class Affine(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, 1, width))
        self.beta = nn.Parameter(torch.zeros(1, 1, width))

    def forward(self, x):
        return torch.addcmul(self.beta, self.alpha, x)


class ResMlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.norm1 = nn.Conv2d(3, 8, 4, 4), Affine(8)
        self.linear_tokens, self.fc1, self.fc2 = (
            nn.Linear(16, 16), nn.Linear(8, 32), nn.Linear(32, 8))  # fmt: skip
        self.ls1 = nn.Parameter(1e-4 * torch.ones(8))
        self.head = nn.Linear(8, NUM_CLASSES)

    def forward(self, x):
        x = self.norm1(self.stem(x).flatten(2).transpose(1, 2))
        x = x + self.ls1 * self.linear_tokens(x.transpose(1, 2)).transpose(1, 2)
        return self.head((x + self.fc2(functional.gelu(self.fc1(x)))).mean(1))


class Beit(nn.Module):
    """Biases of query and value alone, within one projection, and relative positions."""

    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4, 4)
        self.norm, self.qkv = nn.LayerNorm(8), nn.Linear(8, 24, bias=False)
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(8)), nn.Parameter(torch.zeros(8))
        self.relative_position_bias_table = nn.Parameter(torch.zeros(49, 2))
        self.proj, self.gamma_1 = nn.Linear(8, 8), nn.Parameter(0.1 * torch.ones(8))
        self.head = nn.Linear(8, NUM_CLASSES)

    def forward(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        bias = torch.cat((self.q_bias, torch.zeros_like(self.v_bias), self.v_bias))
        y = functional.linear(self.norm(x), self.qkv.weight, bias)
        q, k, v = y.unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4).unbind(0)
        at = torch.arange(256).reshape(16, 16) % 49
        weights = q @ k.mT + self.relative_position_bias_table[at].permute(2, 0, 1)
        y = (weights.softmax(-1) @ v).transpose(1, 2).flatten(2)
        return self.head((x + self.gamma_1 * self.proj(y)).mean(1))


class HeadFirst(nn.Module):
    """The pooling before the head is registered after it."""

    def __init__(self):
        super().__init__()
        self.stem, self.head, self.pool = conv(3, 8), nn.Linear(8, NUM_CLASSES), nn.Linear(8, 8)

    def forward(self, x):
        return self.head(torch.relu(self.pool(pooled(self.stem(x)))))


class SegmentationUNet(nn.Module):
    """No class logits: a map of classes, whose last filters are the readout."""

    def __init__(self):
        super().__init__()
        self.inc, self.down = conv(3, 4), conv(4, 8, stride=2)
        self.up, self.dec = nn.ConvTranspose2d(8, 4, 2, 2), conv(8, 4)
        self.outc = conv(4, NUM_CLASSES, 1)

    def forward(self, x):
        high = torch.relu(self.inc(x))
        x = torch.cat([high, self.up(torch.relu(self.down(high)))], dim=1)
        return self.outc(torch.relu(self.dec(x)))


CONV = {r"bias|beta": "bias", r"(norm|bn)\d?\.weight|gamma": "norm"}
NETWORKS = {
    "densenet": lambda: (
        DenseNet(),
        {"conv0": "first", r"layer.*conv1|transition": "pointwise", "classifier.weight": "readout",
         r"norm\d.weight": "norm", **CONV, "": "hidden"}, None),
    "efficientnet": lambda: (
        efficient_net(),
        {"^0.weight": "first", "dw": "depthwise", "^9.weight": "readout", "^1.weight": "norm",
         **CONV, "": "pointwise"}, None),
    "repvgg": lambda: (
        RepVgg(), {"conv_.*weight": "first", "head.weight": "readout", "bias": "bias"},
        "conv_kxk.weight of shape .* and conv_1x1.weight .* may meet the image"),
    "convnext v2": lambda: (
        ConvNeXtV2(),
        {"stem.weight": "first", "dw.weight": "depthwise", "grn.weight": "norm",
         "head.weight": "readout", **CONV, "": "hidden"}, None),
    "residual perceptron": lambda: (
        ResMlp(),
        {"stem.weight": "first", "head.weight": "readout", "ls1|alpha": "norm", **CONV,
         "": "hidden"}, "Nothing says what ls1 of shape .* or roles={'ls1': 'norm'}"),
    "beit": lambda: (
        Beit(),
        {"patch_embed.weight": "first", "head.weight": "readout", "table": "position", **CONV,
         "": "hidden"}, None),
    "head before the pooling": lambda: (
        HeadFirst(),
        {"stem.weight": "first", "head.weight": "readout", "bias": "bias", "": "hidden"},
        "Both head.weight of shape .* and pool.weight of shape .* may yield the logits"),
    "u-net that segments": lambda: (
        SegmentationUNet(),
        {"inc.weight": "first", "outc.weight": "readout", "bias": "bias", "": "hidden"}, None),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_roles_are_read_right_or_refused(name, roles_are):
    """Catches what is added taken for what multiplies, and one of two ends taken for the only."""
    roles_are(*NETWORKS[name]())
