"""Losses of the user's own in the configuration: where their code is, and whether the library can handle them.

A study names a function, `training: {loss: "losses.py:huber"}`, as it names that of a network
(`isthmus.study.own_networks`).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from isthmus.core.errors import ConfigurationError
from isthmus.core.messages import shown
from isthmus.data.facts import Facts
from isthmus.models.description import LossRequest, mistakes, source_of
from isthmus.study.grid import cells, sections_of
from isthmus.study.own_networks import located


def located_loss(study: dict[str, Any], folder: Path) -> None:
    """Make the path of a study's own loss, relative to `folder`, relative to the working directory, in place."""
    if is_own_loss(study.get("training", {}).get("loss", "")):
        study["training"]["loss"] = located(study["training"]["loss"], folder)


def is_own_loss(loss: str) -> bool:
    """Whether this names a function of the user's own."""
    return ":" in loss


def loss_errors(where: str, study: Mapping[str, Any]) -> Iterator[str]:
    """Mistakes in the loss of a study that can be seen without calling it."""
    loss = study["training"]["loss"]
    for value in study["grid"].get("loss", []):
        if isinstance(value, str) and is_own_loss(value):
            yield f"{where}.grid.loss: {shown(value)} was given; give a function of your own as training.loss"
    if is_own_loss(loss):
        try:
            source_of(loss)
        except ConfigurationError as error:
            yield f"{where}.training.loss: {error}"


def checked_losses(
    studies: Mapping[str, dict[str, Any]], facts: Mapping[str, Facts]
) -> tuple[dict[str, str], list[str]]:
    """The source of the loss of each study that has one of its own, and what is wrong with these losses."""
    own = {name: study["training"]["loss"] for name, study in studies.items() if is_own_loss(study["training"]["loss"])}
    sources = {name: source_of(loss) for name, loss in own.items()}
    asked: dict[tuple[str, LossRequest], None] = {}  # a dictionary keeps the order and drops repetitions
    for name, loss in own.items():
        for axes in cells(studies[name]["grid"]):
            data = facts[sections_of(studies[name], axes)["data"]["name"]]
            asked[name, LossRequest(loss, sources[name], data.classes, data.task == "regression")] = None
    found = mistakes([request for _, request in asked]) if asked else []
    errors = [
        f"studies.{name}.training.loss: {request.loss}: {wrong}"
        for (name, request), wrong in zip(asked, found, strict=True)
        if wrong
    ]
    return sources, list(dict.fromkeys(errors))
