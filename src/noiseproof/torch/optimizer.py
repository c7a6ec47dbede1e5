"""`LearnedOptimizer`: a learned optimizer as a `torch.optim.Optimizer`."""

import math
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from noiseproof.messages import short
from noiseproof.published import UNTOLD, check_num_steps, check_steps_per_epoch, warn_if_far
from noiseproof.torch.foreach import foreach_step
from noiseproof.torch.moments import LEAST_EXPONENT, Moments, run_exponent
from noiseproof.torch.plain import plain_step
from noiseproof.torch.reading import check_whole, read_roles
from noiseproof.torch.roles import Role, check_image_shape, declared_role
from noiseproof.torch.scales import Scales, scales_of
from noiseproof.torch.theta import load_theta, rates_at

DEFAULT_NAME = "universal"
"""The shipped optimizer that was meta-trained on many classifiers."""

REMEDY = (
    "write LearnedOptimizer(model, num_steps=...), or LearnedOptimizer(groups, model=model,"
    " num_steps=...), or say the role of every group: {'params': [...], 'role': 'hidden'}"
)


OF_RUN = ("num_steps", "steps_per_epoch", "lr")
"""What groups of params may each say in their own way."""


class LearnedOptimizer(torch.optim.Optimizer):
    """Trains a classifier by a rule that was meta-trained for robustness.

    Its classifiers saw images that were standardized: less their mean over their spread, by
    channel, of the training images. Do the same to yours. The learned schedule spans `num_steps`
    calls of `step`; a run that goes on past them goes on at the last rate. State is in float32 for
    params of fewer bits. A step reads no tensor on the host.

    Args:
        params: A classifier. Or its params or param groups, with `model=`; or groups that each say
            the `role` of their tensors, as a kind or a `Role`.
        name: A shipped name, a folder of a run, or a `.safetensors` file.
        num_steps: Length of the training run, 10 at least.
        steps_per_epoch: Steps in which the run sees every training image once, such as
            `len(loader)`; for optimizers whose rates depend on how often that is.
        lr: Multiplies every step. A scheduler may change it, on top of the learned schedule.
        model: The classifier, where `params` are not.
        example: A batch of images. One forward pass on them says the order of layers, and what
            params are that no module of PyTorch holds.
        image_shape: (channels, height, width) of one image, where the first layer is dense.
        roles: Of params by name, over what is read: kinds, or `Role`s.
        maximize: Whether the loss is to grow.
        foreach: Whether many tensors are changed by one call; None does so where it is faster,
            away from the CPU.
        capturable: As every step can be captured in a graph, this changes nothing.

    Raises:
        ValueError: The role of a param is not known, or an argument is out of range.
    """

    def __init__(
        self,
        params: nn.Module | Iterable[Any],
        name: str | Path = DEFAULT_NAME,
        *,
        num_steps: int,
        steps_per_epoch: float | None = None,
        lr: float | Tensor = 1.0,
        model: nn.Module | None = None,
        example: Any = None,
        image_shape: tuple[int, int, int] | None = None,
        roles: Mapping[str, str | Role] | None = None,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = True,
    ) -> None:
        check_run(num_steps, steps_per_epoch, lr)
        check_image_shape(image_shape)
        self.theta = load_theta(name)
        if steps_per_epoch is None and "step_epochs" in self.theta.exponents:
            warnings.warn(UNTOLD.format(name=name), stacklevel=2)
        if isinstance(params, nn.Module):
            if model is not None and model is not params:
                raise ValueError("model must be left out where the first argument is a classifier.")
            model, params = params, list(params.parameters())
        if model is not None and not isinstance(model, nn.Module):
            raise ValueError(f"model must be a torch.nn.Module, got {short(model)}.")
        if model is None and (example is not None or roles):
            raise ValueError("example and roles need the classifier: write model=.")
        self.known: dict[Tensor, Role] = {}
        self.names: dict[Tensor, str] = {}
        if model is not None:
            found = read_roles(model, example=example, image_shape=image_shape, given=roles or {})
            self.names = {param: key for key, param in model.named_parameters()}
            self.known = {param: found[key] for param, key in self.names.items()}
        self.image_shape = image_shape
        self.constants: dict[Any, Any] = {}
        defaults = {
            "lr": lr,
            "num_steps": num_steps,
            "steps_per_epoch": steps_per_epoch,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "learned": self.theta.sha256,
        }
        super().__init__(params, defaults)
        classifier = self.known or [one for group in self.param_groups for one in group["params"]]
        num_weights = sum(param.numel() for param in classifier)
        warn_if_far(name, "steps", int(num_steps), self.theta.met.steps)
        warn_if_far(name, "weights", num_weights, self.theta.met.weights)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add tensors of the model, or such as say their `role`; the run goes on where it is."""
        super().add_param_group(param_group)
        try:
            check_group(param_group)
            param_group |= {name: plain(param_group[name]) for name in OF_RUN}
            param_group["roles"] = self.roles_of(param_group)
        except ValueError:
            self.param_groups.pop()
            raise
        self.constants.clear()

    def roles_of(self, group: dict[str, Any]) -> list[tuple[Any, ...]]:
        """The roles of a group's tensors as plain tuples, which a checkpoint can hold."""
        said, roles = group.pop("role", None), []
        for at, param in enumerate(group["params"]):
            name = group.get("param_names", self.names.get(param) or f"param {at}")
            name = name if isinstance(name, str) else name[at]
            check_whole(param, name)
            role = self.known.get(param)
            if said is not None:
                role = declared_role(said, name, tuple(param.shape), self.image_shape)
            if role is None:
                raise ValueError(
                    f"Nothing says what {short(name)[1:-1]} of shape {tuple(param.shape)} is;"
                    f" {REMEDY}."
                )
            roles.append(tuple(role))
        return roles

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step.

        Args:
            closure: Computes the loss and its gradients anew, if it is given.

        Returns:
            What `closure` returned, else None.

        Raises:
            ValueError: A gradient is sparse.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        gathered: list[tuple[Moments, list[int]]] = []
        grads, run_steps, run_exponents = [], [], []
        for group in self.param_groups:
            moments, places = Moments([], [], [], [], [], []), []
            self._init_group(group, *moments, places, run_steps, run_exponents)
            gathered.append((moments, places))
            grads += moments.grads
        if not grads:
            return loss
        device = grads[0].device
        position = torch.stack([step.to(device) for step in run_steps]).max()
        exponent = run_exponent(grads, run_exponents, device)
        for at, (group, (moments, places)) in enumerate(
            zip(self.param_groups, gathered, strict=True)
        ):
            for chosen in by_device(moments):
                own = Moments(*([part[one] for one in chosen] for part in moments))
                self.change(at, group, own, [places[one] for one in chosen], position, exponent)
        return loss

    def change(
        self,
        at: int,
        group: dict[str, Any],
        moments: Moments,
        places: list[int],
        position: Tensor,
        exponent: Tensor,
    ) -> None:
        """Change tensors of one group and one device, at a position of the run."""
        device = moments.params[0].device
        knots = self.constants[device]
        fraction = (position.to(device) / group["num_steps"]).clamp(max=1.0)
        scales = self.constants["scales"][at]
        is_fast = device.type != "cpu" if group["foreach"] is None else group["foreach"]
        take_step = foreach_step if is_fast else plain_step
        take_step(
            moments,
            [Role(*group["roles"][place]) for place in places],
            [scales[place] for place in places],
            rates_at(knots, fraction),
            exponent.to(device),
            group["lr"].squeeze() if isinstance(group["lr"], Tensor) else group["lr"],
            maximize=group["maximize"],
        )

    def _init_group(
        self,
        group: dict[str, Any],
        params: list[Tensor],
        grads: list[Tensor],
        means: list[Tensor],
        squares: list[Tensor],
        steps: list[Tensor],
        exponents: list[Tensor],
        places: list[int],
        run_steps: list[Tensor],
        run_exponents: list[Tensor],
    ) -> bool:
        """Gather what has a gradient, and make its state if it has none. `torch.compile` calls a
        method of this name outside of its graphs."""
        self.make_constants()
        for place, param in enumerate(group["params"]):
            state = self.state[param] if param.grad is not None else self.state.get(param, {})
            if param.grad is not None:
                if param.grad.is_sparse:
                    raise ValueError(
                        f"The gradient of a tensor of shape {tuple(param.shape)} is sparse, which"
                        " no learned optimizer takes; write nn.Embedding(..., sparse=False)."
                    )
                if not state:
                    state |= new_state(param)
                    self.constants.setdefault(param.device, self.theta.knots.to(param.device))
                params.append(param)
                grads.append(param.grad)
                means.append(state["exp_avg"])
                squares.append(state["exp_avg_sq"])
                steps.append(state["step"])
                exponents.append(state["exponent"])
                places.append(place)
            if state:
                run_steps.append(state["step"])
                run_exponents.append(state["exponent"])
        return False

    def make_constants(self) -> None:
        """Theta on the devices of the params, and the scales of all tensors, where they are new."""
        # Checkpoints of earlier versions do not say the steps of an epoch.
        runs = [(one["num_steps"], one.get("steps_per_epoch")) for one in self.param_groups]
        if self.constants.get("runs") == runs:
            return
        for num_steps, steps_per_epoch in runs:
            check_num_steps(num_steps)
            check_steps_per_epoch(steps_per_epoch)
        roles = [Role(*role) for group in self.param_groups for role in group["roles"]]
        shapes = [tuple(param.shape) for group in self.param_groups for param in group["params"]]
        # Params that are not trained here are layers of the classifier, too.
        classifier = list(self.known.values()) or roles
        scales: list[list[Scales]] = []
        start = 0
        for group, run in zip(self.param_groups, runs, strict=True):
            every = scales_of(self.theta.exponents, roles, shapes, *run, classifier=classifier)
            scales.append(every[start : start + len(group["params"])])
            start += len(group["params"])
            for param in group["params"]:
                if param.device not in self.constants:
                    self.constants[param.device] = self.theta.knots.to(param.device)
        self.constants |= {"scales": scales, "runs": runs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a `state_dict`, which is left as it is.

        Raises:
            ValueError: It is of another optimizer, another theta, or another model, or says a run
                that is none; nothing changes then.
        """
        self.check_state(state_dict)
        groups = state_dict["param_groups"]
        super().load_state_dict(state_dict)
        # torch casts state to the type of its param and shares the rest with the caller.
        places = [place for group in groups for place in group["params"]]
        params = [param for group in self.param_groups for param in group["params"]]
        for place, param in zip(places, params, strict=True):
            for name, value in state_dict["state"].get(place, {}).items():
                wide = torch.promote_types(param.dtype, torch.float32)
                dtype = wide if name.startswith("exp_avg") else torch.float32
                self.state[param][name] = value.to(param.device, dtype, copy=True)

    def check_state(self, state_dict: Any) -> None:
        """Raise ValueError where a `state_dict` is not of such an optimizer of such a model."""
        try:
            groups, states = list(state_dict["param_groups"]), state_dict["state"]
            states = {place: dict(state) for place, state in states.items()}
            kept = [(group.get("learned"), group.get("roles") or ()) for group in groups]
            places = [place for group in groups for place in group["params"]]
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ValueError(
                f"The state must be a state_dict() of LearnedOptimizer, got {short(state_dict)}."
            ) from None
        for own, (learned, roles) in zip(self.param_groups, kept, strict=False):
            if learned != own["learned"]:
                raise ValueError(
                    "The state must be of the same learned optimizer (theta with sha256"
                    f" {own['learned'][:12]}), got {short(learned)[:20]}."
                )
            if list(map(tuple, roles)) != own["roles"]:
                raise ValueError("The state must be of a model whose params have the same roles.")
        for group in groups:
            check_group(group)
        params = [param for group in self.param_groups for param in group["params"]]
        for place, param in zip(places, params, strict=False):
            state = states.get(place) or {}
            wanted = {name: value.shape for name, value in new_state(param).items() if state}
            found = {name: getattr(value, "shape", None) for name, value in state.items()}
            if found != wanted:
                name = self.names.get(param, f"param {place}")
                raise ValueError(
                    f"The state must be of the same model, whose {short(name)[1:-1]} has shape"
                    f" {tuple(param.shape)}, got {short(found)}."
                )

    def __getstate__(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("theta", "known", "names", "image_shape")}
        return {**super().__getstate__(), **own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.constants = {}
        for group in self.param_groups:
            group.setdefault("maximize", False)
            group.setdefault("foreach", None)
            group.setdefault("capturable", True)


def check_group(group: Mapping[str, Any]) -> None:
    """Raise ValueError unless what a group of params says of its run may be said."""
    check_run(*(group.get(name) for name in OF_RUN))


def plain(number: Any) -> Any:
    """A number as Python has it, of which `torch.load` knows alone; others as they are."""
    return number.item() if isinstance(number, np.number) else number


def check_run(num_steps: Any, steps_per_epoch: Any, lr: Any) -> None:
    """Raise ValueError unless these are what a run, or a group of params, may be told."""
    check_num_steps(num_steps)
    is_number = lr.numel() == 1 if isinstance(lr, Tensor) else isinstance(lr, Real)
    if not is_number or not 0.0 <= float(lr) < math.inf:
        raise ValueError(f"lr must be a finite number that is not negative, got {short(lr)}.")
    check_steps_per_epoch(steps_per_epoch)


def new_state(param: Tensor) -> dict[str, Tensor]:
    """The state of a tensor that has met no gradient, on its device."""
    wide = torch.promote_types(param.dtype, torch.float32)
    zeros = torch.zeros_like(param, dtype=wide, memory_format=torch.preserve_format)
    return {
        "exp_avg": zeros,
        "exp_avg_sq": zeros.clone(),
        "step": torch.zeros((), dtype=torch.float32, device=param.device),
        "exponent": torch.full((), LEAST_EXPONENT, device=param.device),
    }


def by_device(moments: Moments) -> list[list[int]]:
    """The places of tensors that are changed together: on one device, of one type."""
    chosen: dict[Any, list[int]] = defaultdict(list)
    for at, (param, mean) in enumerate(zip(moments.params, moments.means, strict=True)):
        chosen[param.device, mean.dtype].append(at)
    return list(chosen.values())
