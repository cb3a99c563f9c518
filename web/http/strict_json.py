"""JSON that every browser can read: no NaN and no Infinity, which Python writes and JSON does not have.

Shaped as a module with `dumps` and `loads`, because python-socketio takes its JSON so.
"""

from __future__ import annotations

import json
import math
from typing import Any

from flask.json.provider import DefaultJSONProvider


def dumps(value: Any, **options: Any) -> str:
    """As json.dumps; numbers that are not finite become null."""
    try:
        return json.dumps(value, **{**options, "allow_nan": False})
    except ValueError:
        return json.dumps(_finite(value), **{**options, "allow_nan": False})


def loads(text: str | bytes, **options: Any) -> Any:
    """As json.loads; also what is nested too deeply to be read is a ValueError."""
    try:
        return json.loads(text, **options)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


class StrictJSONProvider(DefaultJSONProvider):
    """Flask's JSON, in the order in which it was built."""

    sort_keys = False

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        kwargs.setdefault("default", self.default)
        kwargs.setdefault("ensure_ascii", self.ensure_ascii)
        kwargs.setdefault("sort_keys", self.sort_keys)
        return dumps(obj, **kwargs)

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return loads(s, **kwargs)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return value
