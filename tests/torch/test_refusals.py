"""What the port refuses, in one line that names the tensor or argument and what to write."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [torch] is not installed")

from noiseproof.checkpoint import save_theta  # noqa: E402
from noiseproof.torch import LearnedOptimizer, Role  # noqa: E402

nn = torch.nn


def small_net():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 3))


EXAMPLE = torch.zeros(2, 1, 4, 4)


class FlatParameter(nn.Parameter):
    """What FSDP makes of a module's params, by its name."""


class DTensor(nn.Parameter):
    """What FSDP2 makes of them."""


def flat(kind):
    model = small_net()
    model[0].weight = kind(torch.zeros(4, 1, 3, 3))
    return model


def sharded():
    """FSDP with `use_orig_params=True`: each param has its own name and one axis."""
    model = small_net()
    model[0].weight = nn.Parameter(torch.zeros(36))
    return model


def build(*args, **options):
    return LearnedOptimizer(*args, **{"num_steps": 10, **options})


REFUSED = {
    "no model": (
        lambda: build(small_net().parameters()),
        r"param 0 of shape \(4, 1, 3, 3\) is; write LearnedOptimizer\(model, num_steps=\.\.\.\)",
    ),
    "named params": (lambda: build(small_net().named_parameters()), "0.weight of shape .* model="),
    "groups": (lambda: build([{"params": small_net().parameters()}]), "'role': 'hidden'"),
    "no steps of an epoch": (
        lambda: build(small_net(), steps_per_epoch=0, image_shape=(1, 4, 4)),
        "steps_per_epoch must be positive and finite, got 0",
    ),
    "flat shards": (lambda: build(flat(FlatParameter)), "0.weight is a shard of FSDP"),
    "tensor shards": (lambda: build(flat(DTensor)), "use DistributedDataParallel"),
    "shards of one axis": (lambda: build(sharded()), r"0.weight must have two axes .*FSDP"),
    "lazy": (
        lambda: build(nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(3))),
        "0.weight has no shape yet; run the model",
    ),
    "whole numbers": (
        lambda: build([{"params": [torch.zeros(3, dtype=torch.int32)], "role": "bias"}]),
        "must be a tensor of floats, got torch.int32",
    ),
    "num_steps": (
        lambda: build(small_net(), num_steps=0),
        "num_steps must be a whole number, 10 at least, got 0; give the length of the whole",
    ),
    "num_steps of a group": (
        lambda: build([{"params": small_net().parameters(), "num_steps": 5}]),
        "10 at least, got 5",
    ),
    "empty weights": (
        lambda: build(nn.Sequential(nn.Conv2d(1, 0, 3), nn.Linear(4, 3))),
        r"0.weight must hold at least one number, got shape \(0, 1, 3, 3\)",
    ),
    "lr": (lambda: build(small_net(), lr=-1.0), "lr must be a finite number that is not neg"),
    "lr below none": (lambda: build(small_net(), lr=torch.tensor(-1.0)), r"got tensor\(-1.\)"),
    "lr not finite": (lambda: build(small_net(), lr=torch.tensor(torch.inf)), r"tensor\(inf"),
    "lr of no number": (lambda: build(small_net(), lr=np.float32("nan")), "got .*nan"),
    "two lr": (lambda: build(small_net(), lr=torch.ones(2)), r"got tensor\(\[1., 1.\]\)"),
    "lr of a group": (
        lambda: build([{"params": small_net()[0].parameters(), "role": "bias", "lr": -1.0}]),
        "lr must be a finite number that is not negative, got -1.0",
    ),
    "epochs of a group": (
        lambda: build([{"params": small_net()[0].bias, "role": "bias", "steps_per_epoch": 0}]),
        "steps_per_epoch must be positive and finite, got 0",
    ),
    "two models": (lambda: build(small_net(), model=small_net()), "model must be left out"),
    "roles of no model": (
        lambda: build([{"params": small_net()[0].bias, "role": "bias"}], roles={"nope": "bias"}),
        "need the classifier: write model=",
    ),
    "no stack": (
        lambda: build(small_net(), roles={"2.weight": Role("hidden", stack=0)}),
        "stack of 2.weight must be 1 or more, got 0",
    ),
    "name": (lambda: build(small_net(), "spectral"), "There is no learned optimizer 'spectral'"),
    "role": (lambda: build(small_net(), roles={"0.weight": "main"}), "must be one of first"),
    "role of none": (lambda: build(small_net(), roles={"9": "bias"}), "has no '9'"),
    "points": (
        lambda: build(small_net(), roles={"2.weight": Role("hidden", (3, 3, 3))}),
        "no filters of",
    ),
    "channels": (
        lambda: build(small_net(), image_shape=(3, 6, 6)),
        r"images of shape \(3, 6, 6\), got 0.weight",
    ),
    "sizes of no image": (
        lambda: build(small_net(), image_shape=(1, 4)),
        r"\(channels, height, width\), three positive whole numbers, got \(1, 4\)",
    ),
    "size of no image": (lambda: build(small_net(), image_shape=64), "whole numbers, got 64"),
    "an empty image": (lambda: build(small_net(), image_shape=(1, 0, 4)), r"got \(1, 0, 4\)"),
    "channels last": (
        lambda: build(
            nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.Linear(8, 3)), image_shape=(8, 8, 3)
        ),
        r"looks like \(height, width, channels\), \(8, 8, 3\); write \(3, 8, 8\), or",
    ),
    "head before the stem": (
        lambda: build(nn.ModuleList([nn.Linear(4, 3), nn.Conv2d(1, 4, 3)])),
        "nothing says how its inputs lie in the image; write example=images, a batch, or",
    ),
    "example": (lambda: build(small_net(), example=[1]), "example must be a batch of images"),
    "an empty example": (
        lambda: build(small_net(), example=torch.zeros(0, 1, 4, 4)),
        r"must be a batch of images, .* got torch.float32 of \(0, 1, 4, 4\)",
    ),
    "channels of the example": (
        lambda: build(small_net(), example=torch.zeros(2, 3, 4, 4)),
        r"fails on an example of shape \(1, 3, 4, 4\), torch.float32 on cpu: .*; give images",
    ),
    "type of the example": (
        lambda: build(small_net(), example=torch.zeros(2, 1, 4, 4).double()),
        "torch.float64 on cpu: .Input type .double.*; give images that model",
    ),
    "two inputs": (
        lambda: build(nn.Bilinear(4, 4, 3), roles={"weight": "hidden"}, example=EXAMPLE),
        "missing 1 required positional argument",
    ),
    "no name": (lambda: build(small_net(), None), "name must be a shipped name, .* got None"),
    "no module": (lambda: build(small_net().parameters(), model=3), "torch.nn.Module, got 3"),
    "no weights": (lambda: build(nn.BatchNorm1d(3)), "at least one convolution or linear layer"),
}


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors:UserWarning")
@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_in_one_line(case):
    make, words = REFUSED[case]
    with pytest.raises(ValueError, match=words) as refusal:
        make()
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 500


def test_sparse_gradients_are_refused():
    model = nn.Sequential(nn.Embedding(5, 4, sparse=True), nn.Linear(4, 3))
    groups = [
        {"params": model[0].parameters(), "role": "embedding"},
        {"params": [model[1].weight], "role": "readout"},
    ]
    optimizer = build(groups)
    model(torch.tensor([1, 2])).sum().backward()
    with pytest.raises(ValueError, match=r"is sparse.*sparse=False"):
        optimizer.step()


def test_the_state_of_another_optimizer_is_refused():
    """Catches a run that goes on by another theta, or with layers that moved."""
    optimizer = build(small_net())
    others = {
        "the same learned optimizer": build(small_net(), "spectral-fashion-mlp"),
        "the same roles": build(
            small_net(),
            roles={"0.weight": "hidden", "2.weight": "first"}
            | {"2.weight": Role("first", (4, 2, 2))},
        ),
    }
    others["learned optimizer"] = torch.optim.AdamW(small_net().parameters())
    for words, other in others.items():
        with pytest.raises(ValueError, match=words):
            optimizer.load_state_dict(other.state_dict())


def test_a_length_that_is_set_in_a_group_is_checked_by_the_next_step():
    model = small_net()
    optimizer = build(model)
    model(torch.ones(2, 1, 4, 4)).sum().backward()
    optimizer.step()
    optimizer.param_groups[0]["num_steps"] = 0
    with pytest.raises(ValueError, match="10 at least, got 0"):
        optimizer.step()


def test_the_state_of_another_model_is_refused_and_spoils_nothing():
    """Catches widths that only the next step would miss, and a state that is half taken over."""

    def trained(units):
        model = nn.Sequential(nn.Conv2d(1, units, 3), nn.Flatten(), nn.Linear(4 * units, 3))
        optimizer = build(model)
        model(torch.ones(2, 1, 4, 4)).sum().backward()
        optimizer.step()
        return optimizer

    optimizer, state = trained(4), trained(8).state_dict()
    damaged = optimizer.state_dict()
    damaged["state"] = {0: {"step": torch.zeros(())}}
    before = optimizer.state_dict()["state"][0]["exp_avg"].clone()
    for wrong in (state, damaged):
        with pytest.raises(ValueError, match=r"the same model, whose 0.weight has shape \(4, 1, 3"):
            optimizer.load_state_dict(wrong)
    groups = optimizer.state_dict()["param_groups"]
    for wrong in (
        {},
        {"state": {}, "param_groups": [3]},
        {"state": [], "param_groups": groups},
        {"state": {0: 3}, "param_groups": groups},
    ):
        with pytest.raises(ValueError, match=r"must be a state_dict\(\) of LearnedOptimizer, got"):
            optimizer.load_state_dict(wrong)
    for name, wrong in (("num_steps", 0), ("num_steps", None), ("steps_per_epoch", 0), ("lr", -1)):
        damaged = optimizer.state_dict()
        damaged["param_groups"] = [{**groups[0], name: wrong}]
        with pytest.raises(ValueError, match=f"{name} must be .*, got {wrong}"):
            optimizer.load_state_dict(damaged)
    assert optimizer.param_groups[0]["num_steps"] == 10
    torch.testing.assert_close(optimizer.state_dict()["state"][0]["exp_avg"], before)
    optimizer.step()


@pytest.mark.parametrize(
    ("rule", "theta", "words"),
    [
        ("nominal_mlp", {"a": np.zeros(3, np.float32)}, "noiseproof.torch knows structured and"),
        ("universal", {"step": np.zeros((5, 4), np.float32)}, "not those of the rule universal"),
    ],
)
def test_a_rule_without_a_port_is_refused(rule, theta, words, tmp_path):
    path = save_theta(tmp_path, theta, {"rule": rule, "options": {}})
    with pytest.raises(ValueError, match=words):
        build(small_net(), path)


@pytest.mark.slow  # a process
def test_without_torch_it_says_how_to_install_it():
    script = "import sys; sys.modules['torch'] = None; import noiseproof.torch"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.stderr.splitlines()[-1] == (
        "ImportError: noiseproof.torch needs torch, which is not installed:"
        " pip install 'noiseproof[torch]'."
    )


@pytest.mark.parametrize("num_steps", [39, 40])
def test_what_is_far_from_meta_training_is_said(num_steps):
    """The shortest run is of 400 steps, the smallest classifier of 970 weights; ours is of 91."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        LearnedOptimizer(small_net(), num_steps=num_steps, steps_per_epoch=5)
    texts = [str(one.message) for one in said]
    assert any("4,000 steps, which is far from 39;" in text for text in texts) == (num_steps == 39)
    assert any("101,770 weights, which is far from 91;" in text for text in texts)
