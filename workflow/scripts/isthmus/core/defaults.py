"""Complete values from a JSON schema: fill in its defaults and convert numbers to its types."""

import copy
from typing import Any


def with_defaults(value: Any, described: dict[str, Any]) -> Any:
    """A copy of `value` with the schema's defaults filled in at every depth."""
    if not isinstance(value, dict) or described.get("type") != "object":
        return copy.deepcopy(value)
    properties = described.get("properties", {})
    other = described.get("additionalProperties")
    complete = {}
    for key, content in value.items():
        inner = properties.get(key, other if isinstance(other, dict) else {})
        complete[key] = with_defaults(content, inner)
    for key, inner in properties.items():
        if key not in complete and "default" in inner:
            complete[key] = with_defaults(inner["default"], inner)
    return complete


def typed(value: Any, described: dict[str, Any]) -> Any:
    """Convert a number to the type in its schema, so that `1` and `1.0` give the same recipe and the same cell name."""
    types = described.get("type") or [each.get("type") for each in described.get("oneOf", [])]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return float(value) if "number" in types else value
