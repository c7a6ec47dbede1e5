"""Roles of networks of tokens, as torchvision and timm write them: read right or refused.

What must be read is stated for each by hand. Each is read twice: by the order of its modules, and
by a forward pass, which must say the same wherever the former is not refused.
"""

import pytest

torch = pytest.importorskip("torch", reason="the extra [torch] is not installed")

nn = torch.nn
NUM_CLASSES = 7


class ViT(nn.Module):
    """torchvision's names; timm's with a fused projection."""

    def __init__(self, fused):
        super().__init__()
        self.conv_proj = nn.Conv2d(3, 8, 4, 4)
        self.class_token = nn.Parameter(torch.zeros(1, 1, 8))
        self.pos_embedding = nn.Parameter(torch.zeros(1, 17, 8))
        self.blocks = nn.ModuleList([(FusedBlock if fused else EncoderBlock)() for _ in range(2)])
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, NUM_CLASSES)

    def forward(self, x):
        x = self.conv_proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], dim=1)
        x = x + self.pos_embedding
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


class EncoderBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1, self.self_attention = nn.LayerNorm(8), nn.MultiheadAttention(8, 2)
        self.ln_2 = nn.LayerNorm(8)
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))

    def forward(self, x):
        y = self.ln_1(x)
        x = x + self.self_attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class FusedBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.qkv, self.proj = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.gamma = nn.Parameter(torch.full((8,), 0.1))
        self.temperature = nn.Parameter(torch.ones(()))

    def forward(self, x):
        q, k, v = self.qkv(self.norm1(x)).chunk(3, dim=-1)
        weights = (q @ k.mT * self.temperature).softmax(-1)
        return x + self.gamma * self.proj(weights @ v)


class Mixer(nn.Module):
    """Patches cut by a reshape, channels last, and a pooling by a learned query."""

    def __init__(self, table="probe"):
        super().__init__()
        self.patches = nn.Linear(48, 8)
        self.norm, self.in_layer, self.out_layer = (
            nn.LayerNorm(8),
            nn.Linear(16, 5),
            nn.Linear(5, 16),
        )
        self.table = table
        self.register_parameter(table, nn.Parameter(torch.randn(1, 1, 8)))
        self.pool = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, NUM_CLASSES)

    def forward(self, x):
        x = x.unflatten(3, (4, 4)).unflatten(2, (4, 4)).permute(0, 2, 4, 3, 5, 1).flatten(3)
        x = self.patches(x.flatten(1, 2).flatten(2))
        y = self.out_layer(nn.functional.gelu(self.in_layer(self.norm(x).transpose(1, 2))))
        x = x + y.transpose(1, 2)
        query = getattr(self, self.table).expand(x.shape[0], -1, -1)
        return self.head(self.pool(query, x, x)[0][:, 0])


VECTORS = {r"(bn|norm|ln|downsample\.1|\b1)\w*\.weight$": "norm", r"bias$": "bias"}
VIT = {
    "conv_proj.weight": "first",
    "class_token": "token",
    "pos_embedding": "position",
    "temperature": "scalar",
    "gamma": "norm",
    "^head.weight": "readout",
    **VECTORS,
    "": "hidden",
}
MIXER = {
    "patches.weight": "first",
    "(probe|thing)": "token",
    "head.weight": "readout",
    **VECTORS,
    "": "hidden",
}

NETWORKS = {
    "vision transformer": lambda: (ViT(fused=False), VIT, None),
    "vision transformer, fused": lambda: (ViT(fused=True), VIT, None),
    "mixer": lambda: (Mixer(), MIXER, "nothing says how its inputs lie"),
    "mixer, own table": lambda: (Mixer("thing"), MIXER, "what thing of .* write example=images"),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_roles_are_read_right_or_refused(name, roles_are):
    """Catches tables read as weights, and a learned query or a layer scale as anything else."""
    roles_are(*NETWORKS[name]())


def test_patches_that_are_cut_by_a_reshape_are_planes_of_the_image(reading):
    role = reading(Mixer(), example=torch.zeros(2, 3, 16, 16))["patches.weight"]
    assert (role.points, role.is_last_channels) == ((3, 4, 4), True)
