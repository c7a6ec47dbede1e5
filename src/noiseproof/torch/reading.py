"""Roles of a classifier's params: from the types of its modules, and the order of its layers.

The order is that of a forward pass where there is an example. Else it is the order in which modules
were registered, as far as both ends fit it: the first weight must take images, and the last one
must be able to yield logits. What that leaves open is refused.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from noiseproof.kinds import MATRICES
from noiseproof.messages import short
from noiseproof.torch.roles import (
    NEAREST_KIND,
    Role,
    check_role,
    declared_role,
    is_matrix,
    weight_role,
)
from noiseproof.torch.tracing import Traced, trace

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
TABLES = (nn.Embedding, nn.EmbeddingBag)
ATTENTION_WEIGHTS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")

WORDS = {
    "position": {"pos", "position", "positional", "posembed"},
    "token": {"cls", "class", "token", "tokens", "query", "probe", "latents"},
    "embedding": {"embedding", "embeddings", "embed"},
    "bias": {"bias", "b", "shift", "offset", "beta"},
    "norm": {"gain", "scale", "gamma", "norm", "slope"},
}
"""Words of the name of a param that no module of PyTorch holds, the first that fits."""

MOST_CHANNELS = 4
"""Of images, where nothing else says how many there are."""


class Param(NamedTuple):
    """A param.

    Attributes:
        name: Its name.
        shape: Its shape.
        role: What its module says of it, if that decides anything.
        taken: Of a weight, how many channels or units it takes.
        units: Of a weight, how many it yields.
    """

    name: str
    shape: tuple[int, ...]
    role: Role | None
    taken: int = 0
    units: int = 0


def is_weight(role: Any) -> bool:
    """Whether a role, or a kind, is that of a weight."""
    return NEAREST_KIND.get(str(getattr(role, "kind", role))) in MATRICES


def is_thin(param: Param) -> bool:
    """Whether a param has one axis at most along which it holds more than one number."""
    return sum(size > 1 for size in param.shape) < 2


def title(param: Param) -> str:
    """A param in a message."""
    return f"{short(param.name)[1:-1]} of shape {param.shape}"


def read_roles(
    model: nn.Module,
    *,
    example: Any,
    image_shape: tuple[int, int, int] | None,
    given: Mapping[str, str | Role],
) -> dict[str, Role]:
    """The role of each param of a classifier by its name.

    Args:
        model: The classifier.
        example: A batch of images, or None.
        image_shape: (channels, height, width) of one image, or None.
        given: Roles by name, over what is read.

    Raises:
        ValueError: A role is not known.
    """
    params = {param.name: param for param in params_of(model)}
    for name in given:
        if name not in params:
            raise ValueError(f"roles must be of params of the model, which has no {short(name)}.")
    known = {name: given.get(name, param.role) for name, param in params.items()}
    weights = [param for param in params.values() if is_weight(known[param.name])]
    loose = frozenset(
        name
        for name, param in params.items()
        if param.role is None and not is_thin(param) and (name not in given or param in weights)
    )
    if not weights and not loose:
        raise ValueError("The model must have at least one convolution or linear layer, got none.")
    read: dict[str, Role] = {}
    kinds: dict[str, str] | None = None
    if example is not None:
        traced = trace(model, example, frozenset(weight.name for weight in weights), loose)
        own = [own_weight(params[name], first) for name, first in traced.own.items()]
        held = [weight for weight in weights if weight.name not in traced.own]
        read, kinds = traced_roles(held + own, traced), traced.kinds
    said = {
        name: declared_role(
            role, name, params[name].shape, image_shape, read.get(name) or params[name].role
        )
        for name, role in given.items()
    }
    others = {
        name: params[name].role or vector_role(params[name], kinds, read.get(name))
        for name, role in known.items()
        if name not in said and not is_weight(role)
    }
    if example is None:
        unsaid = [weight for weight in weights if weight.name not in said]
        read = registered_roles(unsaid, image_shape, {role.kind for role in said.values()})
    roles = read | others | said
    return {name: roles[name] for name in params}


def params_of(model: nn.Module) -> list[Param]:
    """All params of a model in the order of its modules; of a shared one its use as a weight."""
    names = {param: name for name, param in model.named_parameters()}
    found: dict[str, Param] = {}
    for module in model.modules():
        for own_name, param in module.named_parameters(recurse=False):
            name = names[param]
            check_whole(param, name)
            role = module_role(module, own_name, param)
            if role:
                check_role(role, name, tuple(param.shape))
            if name not in found or (role and is_matrix(role)):
                found[name] = Param(name, tuple(param.shape), role, *ends(module, role, param))
    return list(found.values())


def ends(module: nn.Module, role: Role | None, param: Tensor) -> tuple[int, int]:
    """How many channels or units a weight takes, and how many it yields; of others nothing."""
    if role is None or not is_matrix(role):
        return 0, 0
    outputs, inputs = param.shape[1::-1] if role.inputs_first else param.shape[:2]
    groups = getattr(module, "groups", 1)
    grouped = (inputs, outputs * groups) if role.inputs_first else (inputs * groups, outputs)
    return grouped[0], grouped[1] // role.stack


def check_whole(param: Tensor, name: str) -> None:
    """Raise ValueError unless a param is a whole tensor of floats, at least one."""
    kinds = {kind.__name__ for kind in type(param).__mro__}
    if kinds & {"FlatParameter", "DTensor"} or hasattr(param, "_is_flat_param"):
        raise ValueError(
            f"{short(name)[1:-1]} is a shard of FSDP, which has no role: a rule of matrices needs"
            " whole tensors; use DistributedDataParallel."
        )
    if "UninitializedTensorMixin" in kinds:
        raise ValueError(f"{short(name)[1:-1]} has no shape yet; run the model on a batch first.")
    if not param.numel():
        raise ValueError(
            f"{short(name)[1:-1]} must hold at least one number, got shape {tuple(param.shape)}."
        )
    if not param.is_floating_point():
        raise ValueError(f"{short(name)[1:-1]} must be a tensor of floats, got {param.dtype}.")


def module_role(module: nn.Module, own_name: str, param: Tensor) -> Role | None:
    """The role that a module's type gives its param; of a weight as if it were a hidden one.

    None where the type does not decide it.
    """
    shape = tuple(param.shape)
    if isinstance(module, _ConvNd) and own_name == "weight":
        kind = "hidden"
        if math.prod(module.kernel_size) == 1:
            kind = "pointwise"
        elif module.groups > 1 and shape[1] == 1 and not module.transposed:
            kind = "depthwise"
        # Points of a pointwise filter matter if it turns out to be the first.
        role = weight_role("hidden", shape, inputs_first=module.transposed)
        return role._replace(kind=kind)
    if isinstance(module, nn.Linear) and own_name == "weight":
        return Role("hidden")
    if isinstance(module, nn.MultiheadAttention):
        if own_name in ATTENTION_WEIGHTS:
            return Role("hidden", stack=3 if own_name == "in_proj_weight" else 1)
        return Role("bias", stack=3) if own_name == "in_proj_bias" else Role("token")
    if isinstance(module, TABLES) and own_name == "weight":
        return Role("embedding")
    if isinstance(module, NORMS) and own_name == "weight":
        return Role("norm")
    if isinstance(module, nn.PReLU):
        return Role("norm")
    if isinstance(module, (*NORMS, _ConvNd, nn.Linear)) and own_name == "bias":
        return Role("bias")
    return None


def own_weight(param: Param, inputs_first: bool) -> Param:
    """A param that a forward pass multiplies by, as a hidden weight."""
    role = weight_role("hidden", param.shape, inputs_first=inputs_first)
    is_point = len(param.shape) > 2 and math.prod(param.shape[2:]) == 1
    return param._replace(role=role._replace(kind="pointwise" if is_point else "hidden"))


def vector_role(param: Param, traced: dict[str, str] | None, weight: Role | None) -> Role:
    """The role of a param that no module of PyTorch holds, by the forward pass or its name.

    Args:
        param: It.
        traced: Kinds of params by the forward pass, if there was one.
        weight: Its role as a weight, if the forward pass multiplies by it.

    Raises:
        ValueError: Neither tells it.
    """
    words = set(re.split(r"[^a-z]+", param.name.rpartition(".")[2].lower()))
    kind = "scalar" if not param.shape else (traced or {}).get(param.name)
    if kind is None:
        named = next((kind for kind, known in WORDS.items() if words & known), None)
        # A vector called weight is a gain, as in norms that are written by hand.
        named = "norm" if named is None and "weight" in words and is_thin(param) else named
        # What is multiplied by is no table to look up, whatever its name.
        tables = ("position", "token", *(["embedding"] if weight is None else []))
        kind = named if is_thin(param) or named in tables else None
    if kind is None:
        easier = "example=images, a batch, or " if traced is None else ""
        remedy = easier + roles_to_write(param, weight)
        raise ValueError(f"Nothing says what {title(param)} is; write {remedy}.")
    return Role(kind)


def roles_to_write(param: Param, weight: Role | None) -> str:
    """What to write for a param that nothing tells, in a message."""
    name, others = short(param.name), f"or another of {', '.join(NEAREST_KIND)}"
    if weight is not None:
        return f"roles={{{name}: {weight}}}, with noiseproof.torch.Role"
    if is_thin(param) or "bias" in param.name:
        likely = "norm" if is_thin(param) else "position"
        return f"roles={{{name}: {likely!r}}}, {others}"
    return (
        f"roles={{{name}: 'hidden'}} if its outputs are its first axis, as in PyTorch, or"
        f" Role('hidden', inputs_first=True) if its inputs are, as in x @ weight, {others}"
    )


def registered_roles(
    weights: list[Param], image_shape: tuple[int, int, int] | None, said: set[str]
) -> dict[str, Role]:
    """The roles of weights by the order of modules.

    Args:
        weights: Those whose roles were not said.
        image_shape: Of one image, or None.
        said: Kinds that were said of others.

    Raises:
        ValueError: The first one takes no images, or the last one yields no logits.
    """
    if not weights:
        return {}
    first, last = weights[0], weights[-1]
    has_readout = "readout" in said
    roles = {
        param.name: end_role(param, is_last=param is last and not has_readout) for param in weights
    }
    if "first" not in said:
        roles[first.name] = first_role(first, image_shape)
        for place, param in enumerate(weights):
            is_alike = place and (len(param.shape), param.taken) == (len(first.shape), first.taken)
            if is_alike and not any(feeds(before, param) for before in weights[:place]):
                raise_either(first, param, "meet the image")
    if has_readout or first is last:
        return roles
    role = last.role or Role("hidden")
    if role.stack > 1 or (len(last.shape) > 2 and role.kind != "pointwise"):
        raise ValueError(
            f"The last weight must yield the logits, got {title(last)}; write example=images, a"
            " batch, so that the order of layers is read from a forward pass."
        )
    takers = weights[1:]
    is_used = any(feeds(last, other) for other in takers[:-1])
    for param in weights[:-1]:
        # As many units as there are logits, which the last one does not take for its inputs; or
        # some that no other takes, while others take those of the last one; or it takes what the
        # last one takes, and none takes what it yields, nor a part of that, as of a fused one.
        is_alike = len(param.shape) == 2 and param.units == last.units != last.taken
        is_end = not any(feeds(param, other) for other in takers if other is not param)
        is_fused = any(param.units % other.taken == 0 for other in weights)
        is_beside = len(param.shape) == 2 and param.taken == last.taken and not is_fused
        if is_alike or (is_end and (is_used or is_beside)):
            raise_either(param, last, "yield the logits")
    return roles


def feeds(before: Param, param: Param) -> bool:
    """Whether a weight may take what another yields, or that of each place of it."""
    is_flattened = len(before.shape) > 2 and len(param.shape) == 2
    left = param.taken % before.units if is_flattened else param.taken - before.units
    return left == 0


def raise_either(one: Param, other: Param, what: str) -> NoReturn:
    """Raise ValueError as both weights may be at one end."""
    raise ValueError(
        f"Both {title(one)} and {title(other)} may {what}; write example=images, a batch, so that"
        " a forward pass says which."
    )


def first_role(param: Param, image_shape: tuple[int, int, int] | None) -> Role:
    """The role of the weight that meets the image, by the order of modules.

    Raises:
        ValueError: It takes no images, or nothing says of what shape.
    """
    role = param.role or Role("hidden")
    if role.kind == "first":
        return role
    wanted = None if image_shape is None else tuple(image_shape)
    if len(param.shape) > 2:
        taken = param.shape[0 if role.inputs_first else 1]
        fits = taken <= MOST_CHANNELS if wanted is None else taken == wanted[0]
    elif wanted is None:
        raise ValueError(
            f"The first weight is {title(param)}, and nothing says how its inputs lie in the image;"
            " write example=images, a batch, or, if it is this that meets the image,"
            " image_shape=(channels, height, width)."
        )
    else:
        fits = role.stack == 1 and param.shape[-1:] == (math.prod(wanted),)
    if not fits:
        raise ValueError(
            f"The first weight must take images{f' of shape {wanted}' if wanted else ''}, got"
            f" {title(param)}; write example=images, a batch, so that the order of layers is read"
            " from a forward pass."
        )
    points = role.points if len(param.shape) > 2 else wanted or ()
    return role._replace(kind="first", points=points)


def end_role(param: Param, *, is_last: bool) -> Role:
    """The role of a weight that does not meet the image."""
    role = param.role or Role("hidden")
    if role.kind == "pointwise":
        return role._replace(kind="readout" if is_last else "pointwise", points=())
    return role._replace(kind="readout") if is_last and role.kind == "hidden" else role


def traced_roles(weights: list[Param], traced: Traced) -> dict[str, Role]:
    """The roles of weights by the forward pass."""
    roles = {param.name: end_role(param, is_last=param.name in traced.last) for param in weights}
    for param in weights:
        if param.name in traced.first:
            role = param.role or Role("hidden")
            layout = traced.first[param.name]
            if len(param.shape) > 2:
                roles[param.name] = role._replace(kind="first")
            else:
                roles[param.name] = Role(
                    "first",
                    layout.points,
                    inputs_first=role.inputs_first,
                    is_last_channels=layout.is_last_channels,
                )
    return roles
