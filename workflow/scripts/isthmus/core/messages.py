"""Violations of a JSON schema as sentences: the key, what was given, and what is allowed."""

import difflib
import json
import math
from collections.abc import Iterator
from typing import Any

import jsonschema

TOO_LARGE = 2**53
"""From here on, not every whole number has an exact float."""


def _is_integer(_: object, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < TOO_LARGE


def _is_number(_: object, value: object) -> bool:
    if isinstance(value, int) and abs(value) >= TOO_LARGE:
        return False
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _matches(validator: Any, pattern: str, value: object, described: Any) -> Iterator[jsonschema.ValidationError]:
    """JSON Schema's `pattern`, except that a line break at the end never matches; Python's `$` lets one pass."""
    yield from PATTERN(validator, pattern, value, described)
    if isinstance(value, str) and value.endswith("\n"):
        yield jsonschema.ValidationError(f"{value!r} ends in a line break")


PATTERN = jsonschema.Draft202012Validator.VALIDATORS["pattern"]
Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    {"pattern": _matches},
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"integer": _is_integer, "number": _is_number}
    ),
)
WHOLE = "the configuration"


def dotted(where: str, key: object) -> str:
    """The path of `key` under `where`: `studies.digits`, `grid.width[0]`."""
    if isinstance(key, int):
        return f"{where}[{key}]"
    name = str(key)
    return f"{where}.{name if name.isprintable() and name else json.dumps(name)}".removeprefix(".")


def shown(value: Any) -> str:
    """A value as the user wrote it, shortened to 60 characters."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def unknown_key(where: str, key: str, allowed: list[str]) -> str:
    """The sentence for an unknown key, with a suggestion of the nearest known one."""
    near = difflib.get_close_matches(key, allowed, 1)
    hint = f" (did you mean `{near[0]}`?)" if near else ""
    return f"{where}: unknown key{hint}; allowed are: {', '.join(allowed) or 'none'}"


def schema_errors(value: Any, described: dict[str, Any], where: str) -> list[str]:
    """How `value`, found at `where`, violates the schema `described`: one sentence per mistake, ordered by path."""
    validator = Validator(described)
    found: dict[str, None] = {}  # a dictionary keeps the order and drops repetitions
    for error in sorted(validator.iter_errors(value), key=lambda error: [str(part) for part in error.absolute_path]):
        place = where
        for part in error.absolute_path:
            place = dotted(place, part)
        found |= dict.fromkeys(_sentences(error, place))
    return list(found)


def _sentences(error: jsonschema.ValidationError, place: str) -> Iterator[str]:
    described: dict[str, Any] = error.schema if isinstance(error.schema, dict) else {}
    given: Any = error.instance
    if error.validator == "additionalProperties":
        allowed = sorted(described.get("properties", {}))
        for key in sorted(set(given) - set(allowed)):
            yield unknown_key(dotted(place, key), key, allowed)
    elif error.validator == "required":
        for key in described["required"]:
            if key not in given:
                yield f"{place or WHOLE}: the key `{key}` is missing"
    elif error.validator == "not":
        yield f"{place or WHOLE}: {shown(given)} was given; this name is reserved"
    else:
        yield f"{place or WHOLE}: {shown(given)} was given; allowed is {_allowed(described)}{_hint(given)}"


def _hint(given: Any) -> str:
    """A hint for numbers read as text: YAML does this to 1e-3, and Snakemake to nested values of --config."""
    if isinstance(given, int) and abs(given) >= TOO_LARGE:
        return " (this is too large)"
    if not isinstance(given, str):
        return ""
    try:
        number = float(given)
    except ValueError:
        return ""
    return f" (this is text; as a number it is written {given if given.isdigit() else number})"


def _allowed(described: dict[str, Any]) -> str:
    """What a schema allows, in words."""
    if "enum" in described:
        return "one of " + ", ".join(str(value) for value in described["enum"])
    if "oneOf" in described:
        return " or ".join(_allowed(each) for each in described["oneOf"])
    types = described.get("type", "anything")
    names = {"null": "null", "object": "a mapping", "array": "a list", "integer": "an integer", "number": "a number"}
    names |= {"string": "a name", "boolean": "true or false"}
    words = " or ".join(names.get(each, each) for each in ([types] if isinstance(types, str) else types))
    bounds = {
        "minimum": "at least {}",
        "exclusiveMinimum": "above {}",
        "maximum": "at most {}",
        "exclusiveMaximum": "below {}",
        "minItems": "with at least {} entries",
        "minProperties": "with at least {} entries",
        "maxLength": "of at most {} characters",
        "pattern": "of the form {}",
    }
    parts = [text.format(described[key]) for key, text in bounds.items() if key in described]
    if described.get("uniqueItems"):
        parts.append("without repetitions")
    if isinstance(described.get("items"), dict) and described.get("type") == "array":
        parts.append(f"each of them {_allowed(described['items'])}")
    return " ".join([words, *([", ".join(parts)] if parts else [])])
