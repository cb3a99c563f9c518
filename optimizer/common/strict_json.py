"""JSON without NaN and Infinity, which Python writes but which are not JSON, so browsers cannot read them.

A module with `dumps` and `loads`, because python-socketio expects one.
"""

from __future__ import annotations

import json
import math
from typing import Any


def dumps(value: Any, **options: Any) -> str:
    """As json.dumps, but numbers that are not finite become null."""
    try:
        return json.dumps(value, **{**options, "allow_nan": False})
    except ValueError:
        return json.dumps(_finite(value), **{**options, "allow_nan": False})


def loads(text: str | bytes, **options: Any) -> Any:
    """As json.loads, but JSON that is nested too deeply raises ValueError as well."""
    try:
        return json.loads(text, **options)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return value
