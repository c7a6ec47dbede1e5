"""Roles of convolutional networks and perceptrons, as torchvision writes them.

What must be read is stated for each by hand. Each is read twice: by the order of its modules, and
by a forward pass, which must say the same wherever the former is not refused.
"""

import ast

import pytest

torch = pytest.importorskip("torch", reason="the extra [torch] is not installed")

from noiseproof.torch import Role  # noqa: E402

nn = torch.nn
NUM_CLASSES = 7


def conv(fan_in, fan_out, size=3, stride=1, **options):
    return nn.Conv2d(fan_in, fan_out, size, stride, size // 2, **options)


class BasicBlock(nn.Module):
    def __init__(self, fan_in, fan_out, stride=1):
        super().__init__()
        self.conv1, self.bn1 = conv(fan_in, fan_out, 3, stride, bias=False), nn.BatchNorm2d(fan_out)
        self.relu = nn.ReLU()
        self.conv2, self.bn2 = conv(fan_out, fan_out, bias=False), nn.BatchNorm2d(fan_out)
        self.downsample = None
        if stride > 1 or fan_in != fan_out:
            around = conv(fan_in, fan_out, 1, stride, bias=False)
            self.downsample = nn.Sequential(around, nn.BatchNorm2d(fan_out))

    def forward(self, x):
        inside = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(inside + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    def __init__(self, width, groups=1):
        super().__init__()
        self.conv1, self.conv3 = conv(8, width, 1), conv(width, 8, 1)
        self.conv2 = conv(width, width, groups=groups)

    def forward(self, x):
        return torch.relu(x + self.conv3(torch.relu(self.conv2(torch.relu(self.conv1(x))))))


class ResNet(nn.Module):
    """torchvision's, with a small stem."""

    def __init__(self, *blocks, head_first=False):
        super().__init__()
        if head_first:
            self.fc = nn.Linear(8, NUM_CLASSES)
        self.conv1, self.bn1 = conv(3, 8, bias=False), nn.BatchNorm2d(8)
        self.maxpool = nn.MaxPool2d(2)
        self.layer1 = nn.Sequential(*blocks)
        if not head_first:
            self.fc = nn.Linear(8, NUM_CLASSES)

    def forward(self, x):
        x = self.layer1(self.maxpool(torch.relu(self.bn1(self.conv1(x)))))
        return self.fc(torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1))


class PreActivation(nn.Module):
    """With a batch norm of the pixels before the first weight, and PReLUs."""

    def __init__(self):
        super().__init__()
        self.pixels = nn.BatchNorm2d(3)
        self.stem, self.slope = conv(3, 8), nn.PReLU(8)
        self.norm, self.body = nn.GroupNorm(2, 8), conv(8, 8)
        self.head = nn.Linear(8, NUM_CLASSES)

    def forward(self, x):
        x = self.slope(self.stem(self.pixels(x)))
        return self.head((x + self.body(torch.relu(self.norm(x)))).mean((2, 3)))


class LayerNorm2d(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class OwnNorm(nn.Module):
    """ConvNeXt's first code has a norm of its own."""

    def __init__(self, width):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x):
        x = (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True) + 1e-6).sqrt()
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class ConvNeXtBlock(nn.Module):
    def __init__(self, width, scale):
        super().__init__()
        self.dwconv = conv(width, width, 7, groups=width)
        self.norm = nn.LayerNorm(width)
        self.pwconv1, self.pwconv2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        shape = (width, 1, 1) if scale == "layer_scale" else (width,)
        self.register_parameter(scale, nn.Parameter(torch.ones(shape)))
        self.scale = scale

    def forward(self, x):
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        y = self.pwconv2(nn.functional.gelu(self.pwconv1(y)))
        own = getattr(self, self.scale)
        return x + (own * y.permute(0, 3, 1, 2) if own.ndim > 1 else (own * y).permute(0, 3, 1, 2))


class ConvNeXt(nn.Module):
    def __init__(self, norm, scale):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, 4), norm(8))
        self.stages = nn.Sequential(ConvNeXtBlock(8, scale), ConvNeXtBlock(8, scale))
        self.head = nn.Linear(8, NUM_CLASSES)

    def forward(self, x):
        return self.head(self.stages(self.stem(x)).mean((2, 3)))


class UNet(nn.Module):
    """Down, up by a transposed convolution, and a map of classes that is averaged."""

    def __init__(self):
        super().__init__()
        self.inc, self.down = conv(3, 6), conv(6, 9, 3, 2)
        self.up = nn.ConvTranspose2d(9, 6, 2, 2)
        self.outc = conv(12, NUM_CLASSES, 1)

    def forward(self, x):
        high = torch.relu(self.inc(x))
        low = self.up(torch.relu(self.down(high)))
        return self.outc(torch.cat([high, low], dim=1)).mean((2, 3))


class OutOfOrder(nn.Module):
    """Modules that are registered in another order than they are used."""

    def __init__(self):
        super().__init__()
        self.head, self.body, self.stem = nn.Linear(8, NUM_CLASSES), conv(8, 8), conv(3, 8)

    def forward(self, x):
        return self.head(self.body(self.stem(x)).mean((2, 3)))


class TwoHeads(nn.Module):
    """The logits are a sum; a second head is used in training alone."""

    def __init__(self):
        super().__init__()
        self.stem, self.aux = conv(3, 8), nn.Linear(8, 4)
        self.left, self.right = nn.Linear(8, NUM_CLASSES), nn.Linear(8, NUM_CLASSES)

    def forward(self, x):
        x = self.stem(x).mean((2, 3))
        return self.left(x) + self.right(x)


class StandardizedConv(nn.Conv2d):
    """Of normalizer-free nets, with a gain within the filters."""

    def __init__(self, *args):
        super().__init__(*args)
        self.gain = nn.Parameter(torch.ones(self.out_channels, 1, 1, 1))

    def forward(self, x):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return nn.functional.conv2d(x, weight * self.gain, self.bias, self.stride, self.padding)


class OwnDense(nn.Module):
    """A weight that no module of PyTorch holds."""

    def __init__(self):
        super().__init__()
        self.stem = conv(3, 8)
        self.mixing, self.shift = nn.Parameter(torch.randn(8, 8)), nn.Parameter(torch.zeros(8))
        self.head = nn.Linear(8, NUM_CLASSES)

    def forward(self, x):
        return self.head(torch.addmm(self.shift, self.stem(x).mean((2, 3)), self.mixing))


def dense_net(flatten):
    return nn.Sequential(flatten, nn.Linear(768, 9), nn.ReLU(), nn.Linear(9, NUM_CLASSES))


class ChannelsLast(nn.Module):
    def forward(self, x):
        return x.permute(0, 2, 3, 1).flatten(1)


def vgg():
    features = conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(4), conv(8, 8), nn.ReLU()
    classifier = nn.Flatten(), nn.Linear(128, 9), nn.ReLU(), nn.Dropout(), nn.Linear(9, NUM_CLASSES)
    return nn.Sequential(nn.Sequential(*features), nn.Sequential(*classifier))


def mobile_net():
    def block(width):
        return nn.Sequential(
            conv(width, width, 3, groups=width, bias=False), nn.BatchNorm2d(width), nn.ReLU6(),
            conv(width, width, 1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip

    pool = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, NUM_CLASSES)
    return nn.Sequential(conv(3, 8, bias=False), nn.BatchNorm2d(8), block(8), block(8), *pool)


VECTORS = {r"(bn|norm|ln|downsample\.1|\b1)\w*\.weight$": "norm", r"bias$": "bias"}
RESNET = {"^conv1": "first", "^fc.weight": "readout", "downsample.0": "pointwise", **VECTORS}
CONVNEXT = {
    r"stem.0.weight": "first",
    r"dwconv.weight": "depthwise",
    "head.weight": "readout",
    "(gamma|layer_scale)": "norm",
    r"(norm|stem.1).weight": "norm",
    "bias": "bias",
    "pwconv": "hidden",
}
NETWORKS = {
    "resnet": lambda: (
        ResNet(BasicBlock(8, 8), BasicBlock(8, 8, 2)), {**RESNET, "": "hidden"}, None),
    "bottlenecks": lambda: (
        ResNet(Bottleneck(4)), {**RESNET, r"1.0.conv[13].weight": "pointwise", "": "hidden"}, None),
    "resnext": lambda: (
        ResNet(Bottleneck(4, 2)),
        {**RESNET, r"1.0.conv[13].weight": "pointwise", "": "hidden"},
        None,
    ),
    "wide resnet, head first": lambda: (
        ResNet(BasicBlock(8, 8), head_first=True),
        {**RESNET, "": "hidden"},
        "fc.weight of shape .* image_shape=",
    ),
    "pre-activation": lambda: (
        PreActivation(),
        {"stem.weight": "first", "slope|pixels.weight": "norm", "head.weight": "readout",
         **VECTORS, "": "hidden"}, None),
    "convnext": lambda: (ConvNeXt(LayerNorm2d, "layer_scale"), CONVNEXT, None),
    "convnext, own norms": lambda: (ConvNeXt(OwnNorm, "gamma"), CONVNEXT, None),
    "u-net": lambda: (
        UNet(), {"inc.weight": "first", "outc.weight": "readout", **VECTORS, "": "hidden"}, None),
    "out of order": lambda: (
        OutOfOrder(),
        {"stem.weight": "first", "head.weight": "readout", "bias": "bias", "": "hidden"},
        "head.weight of shape .* image_shape=",
    ),
    "two heads": lambda: (
        TwoHeads(),
        {"stem.weight": "first", r"(left|right).weight": "readout", "bias": "bias", "": "hidden"},
        "aux.weight of shape .* and right.weight"),
    "standardized filters": lambda: (
        nn.Sequential(StandardizedConv(3, 8, 3), nn.ReLU(), StandardizedConv(8, NUM_CLASSES, 1)),
        {"0.weight": "first", "2.weight": "readout", "gain": "norm", "bias": "bias"}, None),
    "perceptron": lambda: (
        dense_net(nn.Flatten()),
        {"1.weight": "first", "3.weight": "readout", "bias": "bias"},
        "nothing says how its inputs lie",
    ),
    "perceptron, channels last": lambda: (
        dense_net(ChannelsLast()),
        {"1.weight": "first", "3.weight": "readout", "bias": "bias"},
        "nothing says how its inputs lie",
    ),
    "vgg": lambda: (
        vgg(),
        {"0.0.weight": "first", "0.1.weight": "norm", "1.4.weight": "readout", "bias": "bias",
         "": "hidden"}, None),
    "mobile net": lambda: (
        mobile_net(),
        {"^0.weight": "first", r"(^1|\.1|\.4).weight": "norm", r"\.0.weight": "depthwise",
         r"\.3.weight": "pointwise", "7.weight|6.weight": "readout", "bias": "bias"}, None),
    "linear": lambda: (
        nn.Sequential(nn.Flatten(), nn.Linear(768, NUM_CLASSES)),
        {"weight": "first", "bias": "bias"},
        "nothing says how its inputs lie",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_roles_are_read_right_or_refused(name, roles_are):
    """Catches depth by registration, and filters of a wrong kind."""
    roles_are(*NETWORKS[name]())


EXAMPLE = torch.zeros(2, 3, 16, 16)


def test_a_weight_that_no_module_holds_is_refused_until_it_is_said(reading):
    with pytest.raises(ValueError, match=r"mixing of shape \(8, 8\) is; write example=images"):
        reading(OwnDense())
    wanted = r"is; write roles={'mixing': Role\(kind='hidden', .*inputs_first=True"
    with pytest.raises(ValueError, match=wanted):
        reading(OwnDense(), example=EXAMPLE)
    said = {"mixing": Role("hidden", inputs_first=True)}
    for options in ({}, {"example": EXAMPLE}):
        roles = reading(OwnDense(), roles=said, **options)
        assert (roles["mixing"], roles["shift"]) == (said["mixing"], Role("bias"))
    assert reading(OwnDense(), roles={"mixing": "norm"})["mixing"] == Role("norm")


class OwnEnds(nn.Module):
    """A first weight and a readout that no module of PyTorch holds.

    Args:
        meet: `(features, weight) -> features`, of both.
        shapes: Of the weights.
    """

    def __init__(self, meet, *shapes):
        super().__init__()
        self.first, self.last = (nn.Parameter(torch.randn(shape)) for shape in shapes)
        self.meet = meet

    def forward(self, x):
        return self.meet(torch.relu(self.meet(x.flatten(1), self.first)), self.last)


OWN_ENDS = {
    "x @ weight": (lambda x, w: x @ w, (768, 9), (9, 9)),
    "x @ weight.T": (lambda x, w: x @ w.T, (9, 768), (9, 9)),
    "linear": (nn.functional.linear, (9, 768), (9, 9)),
    "linear of weight.T": (lambda x, w: nn.functional.linear(x, w.T), (768, 9), (9, 9)),
}


def roles_in(written):
    """The roles that a message offers as `{name: Role(...)}`."""
    offered = ast.parse(written, mode="eval").body
    return {
        key.value: Role(**{word.arg: ast.literal_eval(word.value) for word in role.keywords})
        for key, role in zip(offered.keys, offered.values, strict=True)
    }


@pytest.mark.parametrize("case", OWN_ENDS)
def test_what_is_to_be_written_of_a_weight_that_no_module_holds_is_right(case, reading):
    """Catches a first weight offered as a hidden one, and inputs taken for outputs."""
    model, roles = OwnEnds(*OWN_ENDS[case]), {}
    for _ in range(2):
        with pytest.raises(ValueError, match="write roles=") as refusal:
            reading(model, example=EXAMPLE, roles=roles)
        written = str(refusal.value).partition("roles=")[2].partition(", with")[0]
        roles |= roles_in(written)
    first = case in ("x @ weight", "linear of weight.T")
    assert roles["first"] == Role("first", (3, 16, 16), inputs_first=first)
    assert roles["last"] == Role("readout", inputs_first=first)
    assert reading(model, example=EXAMPLE, roles=roles) == roles
    kinds = {name: role.kind for name, role in roles.items()}
    assert reading(model, example=EXAMPLE, roles=kinds) == roles


def test_a_first_weight_whose_inputs_come_first_is_offered_its_whole_role(reading):
    model = OwnEnds(*OWN_ENDS["x @ weight"])
    said = {"roles": {"first": "first", "last": "readout"}, "image_shape": (3, 16, 16)}
    with pytest.raises(ValueError, match=r"no filters of .* say Role\(kind='first', .*first=True"):
        reading(model, **said)


def test_weights_under_a_weight_norm_are_refused_with_their_roles(reading):
    """Catches "no convolution" where all are parametrized, and gains taken for weights."""
    model = nn.Sequential(conv(3, 8), nn.Flatten(), nn.Linear(2048, NUM_CLASSES))
    for layer in (model[0], model[2]):
        nn.utils.parametrizations.weight_norm(layer)
    roles = {}
    for place, kind in ((0, "first"), (2, "readout")):
        name = f"{place}.parametrizations.weight.original1"
        with pytest.raises(ValueError, match=f"{name} .*kind='{kind}'"):
            reading(model, example=EXAMPLE, roles=roles)
        roles[name] = kind
    found = reading(model, example=EXAMPLE, roles=roles)
    assert found["0.parametrizations.weight.original0"] == Role("norm")
    assert found["0.parametrizations.weight.original1"] == Role("first", (3, 3, 3))


def test_numbered_pixels_say_how_a_dense_layer_lies_on_the_image(reading):
    for flatten, is_last in ((nn.Flatten(), False), (ChannelsLast(), True)):
        role = reading(dense_net(flatten), example=EXAMPLE)["1.weight"]
        assert role == Role("first", (3, 16, 16), is_last_channels=is_last)
    pooled = nn.Sequential(nn.AvgPool2d(16), nn.Flatten(), nn.Linear(3, NUM_CLASSES))
    assert reading(pooled, example=EXAMPLE)["2.weight"] == Role("first", (3, 1, 1))


def test_reading_changes_nothing_of_the_model(reading):
    model = ResNet(BasicBlock(8, 8)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.layer1.eval()
    reading(model, example=torch.randn(2, 3, 16, 16))
    assert model.training
    assert not model.layer1.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
