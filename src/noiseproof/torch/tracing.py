"""What a forward pass does with each param, by watching the functions that it calls.

The pass is run once, without gradients, in evaluation, on one image whose pixels are numbered; so
where a dense layer meets the image its inputs say which pixels they are.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from noiseproof.messages import short

ADDING = {"add", "add_", "__add__", "__radd__", "__iadd__", "sub", "__sub__", "__rsub__"}
MULTIPLYING = {"mul", "mul_", "__mul__", "__rmul__", "__imul__", "div", "__truediv__", "prelu"}
ADDED_FIRST = ("addcmul", "addmm", "addmv", "addbmm", "baddbmm")
"""Products whose first operand is added to them; of others the bias stands third or by name."""

PRODUCTS = {"matmul", "__matmul__", "mm", "addmm"}
"""Of two matrices, of which the second has its inputs first."""

JOINING = {"cat", "concat", "concatenate", "stack", "hstack", "vstack"}


class Layout(NamedTuple):
    """How the inputs of a dense layer lie in the image.

    Attributes:
        points: (channels, height, width); of what can not be followed its size as channels.
        is_last_channels: Whether channels change fastest.
    """

    points: tuple[int, int, int]
    is_last_channels: bool = False


class Traced(NamedTuple):
    """A forward pass.

    Attributes:
        first: The weights that meet the image before any other does.
        last: The weights that yield the logits.
        kinds: Of params that are no weights, what they were used as.
        own: The weights that no module of PyTorch holds, and whether their inputs come first.
    """

    first: dict[str, Layout]
    last: frozenset[str]
    kinds: dict[str, str]
    own: dict[str, bool]


class Value(NamedTuple):
    """What is known of a tensor that depends on the image.

    Attributes:
        is_raw: Whether no weight has met it.
        after: The weights that it passed last.
    """

    is_raw: bool
    after: frozenset[str]


class Watch(TorchFunctionMode):
    """Follows the image and the params through all functions that are called.

    Args:
        params: All of them, and their names.
        weights: The names of those that are weights.
        loose: The names of those that are weights if they are multiplied by as such.
        image: What the model is called with.
    """

    def __init__(
        self,
        params: dict[Tensor, str],
        weights: frozenset[str],
        loose: frozenset[str],
        image: Tensor,
    ) -> None:
        super().__init__()
        self.weights, self.loose, self.image = weights, loose, image
        self.made_of: dict[Tensor, frozenset[str]] = {
            param: frozenset([name]) for param, name in params.items()
        }
        self.values: dict[Tensor, Value] = {image: Value(True, frozenset())}
        self.shapes = {name: tuple(param.shape) for param, name in params.items()}
        self.order: dict[str, int] = {}
        self.units: dict[str, int] = {}
        self.first: dict[str, Layout] = {}
        self.kinds: dict[str, str] = {}
        self.added: set[str] = set()
        self.multiplied: dict[str, bool] = {}
        self.own: dict[str, bool] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors = list(tensors_in((args, kwargs)))
        data = [one for one in tensors if one in self.values]
        names = [name for one in tensors for name in sorted(self.made_of.get(one, ()))]
        function = getattr(func, "__name__", "")
        added = args[:1] if function in ADDED_FIRST else (*args[2:3], kwargs.get("bias"))
        self.added = {name for one in tensors_in(added) for name in self.made_of.get(one, ())}
        self.multiplied = self.products(function, args, tensors)
        result = func(*args, **kwargs)
        for made in tensors_in(result):
            if data:
                self.values[made] = self.met(function, data, names, made)
            elif names:
                self.made_of[made] = frozenset(names)
        return result

    def products(
        self, function: str, args: tuple[Any, ...], tensors: list[Tensor]
    ) -> dict[str, bool]:
        """The loose params that a function multiplies by, and whether their inputs come first."""
        if not function.startswith(("conv", "linear")) and function not in PRODUCTS:
            return {}
        is_right = function in PRODUCTS and any(
            one in self.values for one in tensors_in(args[-2:-1])
        )
        found: dict[str, bool] = {}
        for one in tensors:
            shapes = [tuple(one.shape), tuple(one.mT.shape)] if one.ndim > 1 else []
            for name in self.made_of.get(one, frozenset()) & self.loose - self.added:
                if self.shapes[name] in shapes:
                    # A transposed matrix is a view whose entries are in another order.
                    is_first = is_right == one.is_contiguous()
                    is_conv = function.startswith("conv")
                    found[name] = "transpose" in function if is_conv else is_first
        return found

    def met(self, name: str, data: list[Tensor], names: list[str], made: Tensor) -> Value:
        """The value that is made of others, and of params that this uses."""
        values = [self.values[one] for one in data]
        is_raw = all(value.is_raw for value in values)
        after: frozenset[str] = frozenset().union(*(value.after for value in values))
        used = [one for one in names if one in self.weights]
        used = used or [one for one in names if one in self.multiplied]
        self.own |= {one: self.multiplied[one] for one in used if one in self.multiplied}
        for one in names:
            if one not in used and one not in self.kinds and one not in self.own:
                self.kinds[one] = self.inside(name, one) if used else self.kind(name, one)
        for one in used:
            self.order.setdefault(one, len(self.order))
            self.units[one] = (
                made.shape[-1] if name == "linear" else made.shape[min(1, made.ndim - 1)]
            )
            if is_raw:
                shape = self.shapes[one]
                size = shape[0 if self.own.get(one) else 1] if len(shape) == 2 else 0
                self.first.setdefault(one, layout_of(data[0], self.image, size))
        return Value(False, frozenset(used[-1:])) if used else Value(is_raw, after)

    def inside(self, function: str, name: str) -> str:
        """What a param is that a function used beside the image and a weight."""
        if not function.startswith(("conv", "linear", *ADDED_FIRST)):
            return "token"  # it passes the weight as the image does: a learned query
        return "bias" if name in self.added else "norm"  # a gain of standardized filters

    def kind(self, function: str, name: str) -> str:
        """What a param is that a function used beside the image; nothing where that is open."""
        if function == "addcmul":
            return "bias" if name in self.added else "norm"
        sizes = [size for size in self.shapes[name] if size > 1]
        if function in ADDING:
            return "position" if len(sizes) > 1 else "bias"
        if function in MULTIPLYING:
            return "norm"
        if function in JOINING:
            return "token"
        return "embedding" if function == "embedding" else ""


def trace(model: nn.Module, example: Any, weights: frozenset[str], loose: frozenset[str]) -> Traced:
    """Follow a model on one image of the shape of an example's.

    Args:
        model: The classifier; nothing of it is changed.
        example: A batch of images, of shape (batch, channels, height, width).
        weights: The names of its weights.
        loose: The names of those that are weights if they are multiplied by as such.

    Raises:
        ValueError: The example is no batch of images, the model fails on one, or it returns no
            logits.
    """
    is_batch = isinstance(example, Tensor) and example.ndim == 4 and example.numel()
    if not is_batch or not example.is_floating_point():
        got = f"{example.dtype} of {tuple(example.shape)}" if isinstance(example, Tensor) else ""
        raise ValueError(
            "example must be a batch of images, a tensor of floats of shape (batch, channels,"
            f" height, width), got {got or type(example).__name__}."
        )
    shape = (1, *example.shape[1:])
    numbered = torch.arange(example[:1].numel(), device=example.device).reshape(shape)
    image = numbered.to(example.dtype)
    params: dict[Tensor, str] = {param: name for name, param in model.named_parameters()}
    watch = Watch(params, weights, loose, image)
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad(), watch:
            logits = model(image)
    # A forward pass of one's own fails in whatever way.
    except Exception as error:
        raise ValueError(
            f"The model fails on an example of shape {shape}, {image.dtype} on {image.device}:"
            f" {short(str(error))}; give images that model(images) takes, or leave example= out."
        ) from error
    finally:
        for module, mode in modes.items():
            module.training = mode
    if not isinstance(logits, Tensor) or logits not in watch.values:
        raise ValueError(
            "The model must return the logits as one tensor that depends on the images, got"
            f" {type(logits).__name__}; leave example= out, or wrap the model."
        )
    kinds = {name: kind for name, kind in watch.kinds.items() if kind}
    return Traced(watch.first, readouts(watch, logits), kinds, watch.own)


def readouts(watch: Watch, logits: Tensor) -> frozenset[str]:
    """The weights that yield the logits; of many that are added up those of as many units."""
    last = watch.values[logits].after
    if len(last) < 2:
        return last
    fitting = {name for name in last if watch.units[name] == logits.shape[min(1, logits.ndim - 1)]}
    return frozenset(fitting or {max(last, key=lambda name: watch.order[name])})


def layout_of(met: Float[Tensor, "..."], image: Tensor, size: int) -> Layout:
    """How the inputs of a weight lie in an image of numbered pixels; `size` is 0 of filters."""
    unknown = Layout((size, 1, 1))
    if not size or met.shape[-1] != size:
        return unknown
    row = met.reshape(-1, size)[0].double()
    _, _, height, width = image.shape
    pixels = row.round().long()
    if bool((pixels != row).any()) or int(pixels.min()) < 0 or int(pixels.max()) >= image.numel():
        return unknown
    channel, y, x = pixels // (height * width), pixels // width % height, pixels % width
    sides = [one.unique() for one in (channel, y, x)]
    points = (len(sides[0]), len(sides[1]), len(sides[2]))
    box = (sides[0][:, None, None] * height + sides[1][:, None]) * width + sides[2]
    if box.numel() != size:
        return unknown
    for is_last_channels, order in ((False, box), (True, box.permute(1, 2, 0))):
        if torch.equal(order.flatten(), pixels):
            return Layout(points, is_last_channels)
    return unknown


def tensors_in(values: Any) -> Iterator[Tensor]:
    """All tensors of nested lists, tuples and dicts."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, dict):
        for value in values.values():
            yield from tensors_in(value)
    elif isinstance(values, list | tuple):
        for value in values:
            yield from tensors_in(value)
