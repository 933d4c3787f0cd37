"""Networks of the user's own: from a function in a file, or in an installed package, to a stack of networks.

The function is called with the arguments of the recipe. If it has parameters called `classes` or `shape` that the
recipe leaves open, it gets the number of classes (or of real targets) of the data, and the shape of an input, for
images channels, height and width.
"""

import inspect
import pkgutil
import sys
from collections.abc import Callable
from functools import cache, partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from isthmus.core.errors import UserError
from isthmus.models.functional import MakeModule, Stacked
from isthmus.recipes.recipe import ModuleRecipe

Shape = tuple[int, ...]


def build_own(recipe: ModuleRecipe, shape: Shape, classes: int, stack: int) -> Stacked:
    """A stack of networks that is not initialized yet. Raises UserError if there is no such function."""
    make = maker(recipe.module, recipe.arguments, shape, classes)
    return Stacked(make, stack, recipe.stacks, recipe.last_layer, recipe.random)


def maker(module: str, arguments: dict[str, Any], shape: Shape, classes: int) -> MakeModule:
    """A function without arguments that makes one network.

    Raises UserError if there is no such function, or if it does not take these arguments.

    >>> maker("torch.nn:Linear", {"in_features": 2, "out_features": 3}, (1, 8, 8), 10)()
    Linear(in_features=2, out_features=3, bias=True)
    """
    function = load(module)
    parameters = inspect.signature(function).parameters
    given = {name: value for name, value in (("shape", shape), ("classes", classes)) if name in parameters} | arguments
    any_name = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    for name in arguments:
        if name not in parameters and not any_name:
            raise UserError(f"{module} has no argument `{name}`; it has {', '.join(parameters) or 'none'}")
    for name, each in parameters.items():
        needed = each.default is each.empty and each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)
        if needed and name not in given:
            raise UserError(f"{module} needs a value for `{name}`: give it in `arguments`, or as an axis of the grid")
    return partial(function, **given)


@cache
def load(module: str) -> Callable[..., Any]:
    """The function that `module` names: `models.py:build`, or `torchvision.models:resnet18`; a loss is named likewise.

    Raises UserError if there is none; whatever the file itself raises is passed on.
    """
    place, _, name = module.rpartition(":")
    try:
        found: Any = pkgutil.resolve_name(module) if not place.endswith(".py") else getattr(_file(Path(place)), name)
    except (AttributeError, ModuleNotFoundError) as error:
        raise UserError(f"{module}: {error}") from error
    if not callable(found):
        raise UserError(f"{module} is a {type(found).__name__}, not a function")
    return found


def _file(path: Path) -> Any:
    """The module in a file, which may import files beside it."""
    spec = spec_from_file_location(f"own_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UserError(f"{path} does not exist")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # last, so that none of its files takes the place of a package
    made = module_from_spec(spec)
    sys.modules[spec.name] = made  # where dataclasses look up the names of annotations
    spec.loader.exec_module(made)
    return made
