"""What users of `torch.optim` expect of an optimizer, one expectation a test."""

import copy
import io
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [torch] is not installed")

from noiseproof.torch import LearnedOptimizer  # noqa: E402

nn = torch.nn
NUM_STEPS = 10
BATCH = torch.randn(6, 1, 4, 4, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def small_net(dtype=torch.float32):
    torch.manual_seed(0)
    layers = (
        nn.Conv2d(1, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16, 3),
    )
    return nn.Sequential(*layers).to(dtype)


def loss_of(model, images=BATCH, labels=LABELS):
    dtype = next(model.parameters()).dtype
    return nn.functional.cross_entropy(model(images.to(dtype)).float(), labels)


def train(model, optimizer, steps=3, **batch):
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(model, **batch).backward()
        optimizer.step()
    return weights(model)


def weights(model):
    return [param.detach().clone() for param in model.parameters()]


def trained(steps=3, **options):
    model = small_net()
    return train(model, LearnedOptimizer(model, num_steps=NUM_STEPS, **options), steps)


def same(some, others, atol=0.0):
    return all(torch.allclose(a, b, rtol=0, atol=atol) for a, b in zip(some, others, strict=True))


def test_the_closure_is_called_with_gradients_and_its_loss_comes_back():
    model = small_net()
    optimizer = LearnedOptimizer(model, num_steps=NUM_STEPS)

    def closure():
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        return loss

    first = optimizer.step(closure)
    assert first.item() == pytest.approx(loss_of(small_net()).item())
    assert [optimizer.step(closure) for _ in range(2)][-1] < first
    assert same(weights(model), trained())
    assert optimizer.step() is None


def test_the_fast_path_takes_the_steps_of_the_plain_one():
    # Of so short a run steps are long, and their rounding with them.
    assert same(trained(foreach=True, lr=0.1), trained(foreach=False, lr=0.1), atol=2e-6)


def test_lr_multiplies_every_step_and_a_scheduler_drives_it():
    """Catches a rate that is read once, and an lr that does not reach all pulls."""
    start = weights(small_net())
    full, half, none = (trained(1, lr=lr) for lr in (1.0, 0.5, 0.0))
    assert same(none, start)
    for begin, whole, part in zip(start, full, half, strict=True):
        torch.testing.assert_close(2 * (part - begin), whole - begin, rtol=1e-3, atol=1e-6)
    for lr in (torch.tensor(0.5), torch.tensor([0.5])):
        assert same(trained(1, lr=lr), half, atol=1e-7)
    model = small_net()
    optimizer = LearnedOptimizer(model, num_steps=NUM_STEPS)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 0.5, 0.5, 2)
    assert same(train(model, optimizer, 1), half, atol=1e-7)
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == 0.5


@pytest.mark.usefixtures("without_shape_checks")
def test_numbers_of_numpy_are_kept_as_those_of_python():
    """Catches a checkpoint that `torch.load` refuses."""
    told = {"lr": np.float32(0.5), "steps_per_epoch": np.float64(2.0)}
    optimizer = LearnedOptimizer(small_net(), num_steps=np.int64(NUM_STEPS), **told)
    stream = io.BytesIO()
    torch.save(optimizer.state_dict(), stream)
    stream.seek(0)
    (group,) = torch.load(stream, weights_only=True)["param_groups"]
    assert (group["num_steps"], group["steps_per_epoch"], group["lr"]) == (NUM_STEPS, 2.0, 0.5)


def test_maximize_climbs_the_same_way():
    model = small_net()
    before = loss_of(model).item()
    train(model, LearnedOptimizer(model, num_steps=NUM_STEPS, maximize=True))
    assert loss_of(model).item() > before
    flipped = small_net()
    optimizer = LearnedOptimizer(flipped, num_steps=NUM_STEPS)
    for _ in range(3):
        optimizer.zero_grad()
        (-loss_of(flipped)).backward()
        optimizer.step()
    assert same(weights(model), weights(flipped), atol=1e-6)


def test_after_its_run_it_goes_on_at_the_last_rate():
    """Catches a schedule that turns back, as a cosine does."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    optimizer = LearnedOptimizer(model, num_steps=NUM_STEPS, image_shape=(1, 2, 2))
    moves = []
    for _ in range(NUM_STEPS + 4):
        with torch.no_grad():
            model[1].bias.zero_()
        model[1].bias.grad = torch.ones(2)
        optimizer.step()
        moves.append(model[1].bias.abs().max().item())
    assert moves[0] > moves[NUM_STEPS] > 0
    assert moves[NUM_STEPS:] == pytest.approx([moves[NUM_STEPS]] * 4, rel=1e-5)


def test_a_state_goes_on_bit_for_bit_and_its_dict_is_left_alone():
    """Catches state that is lost, cast or shared with what was loaded."""
    model = small_net()
    optimizer = LearnedOptimizer(model, num_steps=NUM_STEPS, steps_per_epoch=5)
    train(model, optimizer)
    stream = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, stream)
    straight = train(model, optimizer)
    stream.seek(0)
    saved = torch.load(stream, weights_only=True)
    kept = copy.deepcopy(saved["optimizer"])
    other = small_net()
    other.load_state_dict(saved["model"])
    resumed = LearnedOptimizer(other, num_steps=NUM_STEPS)
    resumed.load_state_dict(saved["optimizer"])
    assert same(train(other, resumed), straight)
    assert saved["optimizer"]["param_groups"] == kept["param_groups"]
    for place, state in kept["state"].items():
        assert set(state) == {"exp_avg", "exp_avg_sq", "step", "exponent"}
        for name, value in state.items():
            assert torch.equal(saved["optimizer"]["state"][place][name], value)


def test_a_run_is_lengthened_by_its_groups_alone():
    """Catches scales of the length that the run had before, and one that a state puts back."""
    model = small_net()
    optimizer = LearnedOptimizer(model, num_steps=NUM_STEPS, steps_per_epoch=5)
    train(model, optimizer)
    twin = copy.deepcopy(model)
    resumed = LearnedOptimizer(twin, num_steps=80, steps_per_epoch=5)
    resumed.load_state_dict(optimizer.state_dict())
    assert resumed.param_groups[0]["num_steps"] == NUM_STEPS
    unchanged = train(*copy.deepcopy((model, optimizer)))
    for one in (optimizer, resumed):
        one.param_groups[0]["num_steps"] = 80
    longer = train(model, optimizer)
    assert same(train(twin, resumed), longer)
    assert not same(longer, unchanged)


@pytest.mark.slow  # a process that imports PyTorch
def test_a_state_goes_on_in_a_fresh_process(tmp_path):
    model = small_net()
    optimizer = LearnedOptimizer(model, num_steps=NUM_STEPS)
    train(model, optimizer)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "a")
    straight = train(model, optimizer)
    script = f"""
import sys, torch
from torch import nn
from noiseproof.torch import LearnedOptimizer
assert "jax" not in sys.modules
torch.set_num_threads(1)
body = nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()
model = nn.Sequential(*body, nn.Linear(16, 3))
optimizer = LearnedOptimizer(model, num_steps={NUM_STEPS}, steps_per_epoch=5)
saved = torch.load({str(tmp_path / "a")!r}, weights_only=True)
model.load_state_dict(saved["model"])
optimizer.load_state_dict(saved["optimizer"])
images = torch.randn(6, 1, 4, 4, generator=torch.Generator().manual_seed(1))
for _ in range(3):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(images), torch.tensor([0, 1, 2, 0, 1, 2])).backward()
    optimizer.step()
torch.save([param.detach() for param in model.parameters()], {str(tmp_path / "b")!r})
"""
    # Its classifier is far smaller than that of meta-training, of which it is warned.
    command = [sys.executable, "-W", "ignore::UserWarning", "-c", script]
    found = subprocess.run(command, capture_output=True, text=True)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
    assert same(torch.load(tmp_path / "b", weights_only=True), straight, atol=1e-6)


def test_it_can_be_copied():
    model = small_net()
    optimizer = LearnedOptimizer(model, num_steps=NUM_STEPS)
    train(model, optimizer)
    twin, its_optimizer = copy.deepcopy((model, optimizer))
    assert same(train(twin, its_optimizer), train(model, optimizer))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_state_is_in_float32_at_least_and_stays_so_when_it_is_loaded(dtype):
    """Catches averages of few digits, and `load_state_dict`, which casts to the param's type."""
    model = small_net(dtype)
    optimizer = LearnedOptimizer(model, num_steps=NUM_STEPS, lr=0.1)
    train(model, optimizer)
    wide = torch.promote_types(dtype, torch.float32)
    resumed = LearnedOptimizer(model, num_steps=NUM_STEPS)
    resumed.load_state_dict(optimizer.state_dict())
    for state in (*optimizer.state.values(), *resumed.state.values()):
        assert {state["exp_avg"].dtype, state["exp_avg_sq"].dtype} == {wide}
        assert {state["step"].dtype, state["exponent"].dtype} == {torch.float32}
    for param in model.parameters():
        assert param.dtype == dtype
        assert param.isfinite().all()
    exact = trained(lr=0.1)
    for ours, theirs in zip(model.parameters(), exact, strict=True):
        # Three steps of about .01 in numbers of eight bits.
        torch.testing.assert_close(ours.float(), theirs, rtol=0.03, atol=0.03)


def test_state_is_made_where_a_param_first_has_a_gradient():
    model = small_net()
    optimizer = LearnedOptimizer(model, num_steps=NUM_STEPS)
    assert not optimizer.state
    model[0].weight.requires_grad_(False)
    frozen = model[0].weight.detach().clone()
    train(model, optimizer)
    assert model[0].weight not in optimizer.state
    assert torch.equal(model[0].weight, frozen)
    model[0].weight.requires_grad_(True)
    train(model, optimizer, 1)
    assert optimizer.state[model[0].weight]["step"].item() == 1
    assert not torch.equal(model[0].weight, frozen)


def test_a_step_without_any_gradient_changes_nothing():
    model = small_net()
    LearnedOptimizer(model, num_steps=NUM_STEPS).step()
    assert same(weights(model), weights(small_net()))


def test_gradients_of_any_unit_make_the_same_steps():
    """So that neither a loss scale nor clipping by a norm from the start changes the run."""
    model, scaled = small_net(), small_net()
    optimizers = [LearnedOptimizer(one, num_steps=NUM_STEPS) for one in (model, scaled)]
    train(model, optimizers[0])
    for _ in range(3):
        optimizers[1].zero_grad()
        (1e-20 * loss_of(scaled)).backward()
        optimizers[1].step()
    assert same(weights(model), weights(scaled), atol=1e-4)


def test_accumulated_and_clipped_gradients_are_those_of_their_sum():
    model = small_net()
    model[1] = nn.Identity()
    twin = copy.deepcopy(model)
    whole, parts = (LearnedOptimizer(one, num_steps=NUM_STEPS) for one in (model, twin))
    for _ in range(3):
        whole.zero_grad(set_to_none=False)
        loss_of(model).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        whole.step()
        parts.zero_grad()
        for half in (slice(0, 3), slice(3, 6)):
            (0.5 * loss_of(twin, BATCH[half], LABELS[half])).backward()
        nn.utils.clip_grad_norm_(twin.parameters(), 0.1)
        parts.step()
    assert same(weights(model), weights(twin), atol=1e-5)


def test_a_gradient_scaler_skips_what_is_not_finite():
    model = small_net()
    optimizer = LearnedOptimizer(model, num_steps=NUM_STEPS)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for factor in (1.0, float("inf"), 1.0):
        before = weights(model)
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = loss_of(model)
        scaler.scale(loss * factor).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        assert same(weights(model), before) == (factor != 1.0)
    assert {state["step"].item() for state in optimizer.state.values()} == {2.0}


def test_gradients_that_are_not_finite_do_not_spoil_the_unit():
    """Catches an exponent that an infinite gradient moves for good."""
    model = small_net()
    optimizer = LearnedOptimizer(model, num_steps=NUM_STEPS)
    train(model, optimizer)
    unit = optimizer.state[model[4].bias]["exponent"].item()
    model[4].bias.grad = torch.full((3,), float("inf"))
    optimizer.step()
    assert optimizer.state[model[4].bias]["exponent"].item() == unit


def test_a_group_that_is_added_goes_on_where_the_run_is():
    model = small_net()
    body = [param for layer in model[:4] for param in layer.parameters()]
    optimizer = LearnedOptimizer([{"params": body, "lr": 0.5}], model=model, num_steps=NUM_STEPS)
    train(model, optimizer, 2)
    optimizer.add_param_group({"params": model[4].parameters()})
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 1.0]
    train(model, optimizer, 1)
    assert optimizer.state[model[4].weight]["step"].item() == 1
    extra = nn.Parameter(torch.ones(3))
    with pytest.raises(ValueError, match="'role': 'hidden'"):
        optimizer.add_param_group({"params": [extra]})
    assert len(optimizer.param_groups) == 2
    optimizer.add_param_group({"params": [extra], "role": "norm"})
    extra.grad = torch.ones(3)
    optimizer.step()
    assert (extra < 1).all()


def test_groups_that_say_their_roles_need_no_model():
    model = small_net()
    kinds = {"first": [model[0].weight], "readout": [model[4].weight], "norm": [model[1].weight]}
    kinds["bias"] = [model[1].bias, model[4].bias]
    groups = [{"params": params, "role": kind} for kind, params in kinds.items()]
    train(model, LearnedOptimizer(groups, num_steps=NUM_STEPS))
    assert same(weights(model), trained(), atol=1e-6)


def test_layers_that_are_not_trained_are_layers_of_the_classifier():
    """Catches a head whose step depends on whether the rest is frozen or left out."""

    def head_after_a_step(*, frozen):
        model = small_net()
        head = model[-1].parameters()
        if frozen:
            model[:-1].requires_grad_(False)
        told = {"num_steps": NUM_STEPS, "steps_per_epoch": 2}
        optimizer = (
            LearnedOptimizer(model, **told)
            if frozen
            else LearnedOptimizer(head, model=model, **told)
        )
        loss_of(model).backward()
        optimizer.step()
        return model[-1].weight

    frozen, left_out = (head_after_a_step(frozen=frozen) for frozen in (True, False))
    torch.testing.assert_close(frozen, left_out, rtol=0, atol=0)


def test_named_params_keep_their_names():
    model = small_net()
    optimizer = LearnedOptimizer(model.named_parameters(), model=model, num_steps=NUM_STEPS)
    assert optimizer.param_groups[0]["param_names"][0] == "0.weight"
    assert same(train(model, optimizer), trained())


def test_a_step_copies_no_tensor_to_the_host(monkeypatch):
    """Catches what stalls a GPU and what no graph can capture."""

    def refuse(*_):
        raise AssertionError("a step read a tensor")

    model = small_net()
    optimizer = LearnedOptimizer(model, num_steps=NUM_STEPS)
    loss_of(model).backward()
    for name in ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__"):
        monkeypatch.setattr(torch.Tensor, name, refuse)
    for foreach in (False, True):
        optimizer.param_groups[0]["foreach"] = foreach
        optimizer.step()
