"""How Flask writes and reads JSON: strictly."""

from __future__ import annotations

from typing import Any

from flask.json.provider import DefaultJSONProvider

from optimizer.common import strict_json


class StrictJSONProvider(DefaultJSONProvider):
    """Flask's JSON. Keys stay in the order in which they were added."""

    sort_keys = False

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        kwargs.setdefault("default", self.default)
        kwargs.setdefault("ensure_ascii", self.ensure_ascii)
        kwargs.setdefault("sort_keys", self.sort_keys)
        return strict_json.dumps(obj, **kwargs)

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return strict_json.loads(s, **kwargs)
