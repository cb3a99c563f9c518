"""What the API answers about many tasks at once; see `answer_schemas`."""

from __future__ import annotations

from pydantic import Field

from web.http.answer_schemas import Answer, Body


class BatchBody(Body):
    id: str
    name: str | None
    tasks: int
    counts: dict[str, int]
    progress: float = Field(description="over all its sound, 0 to 1; what has ended counts as done")
    audio_seconds: float
    eta_seconds: float | None
    created_at: str
    owner: str = Field("", description="the account that it belongs to; only there for an admin")


class BatchListAnswer(Answer):
    batches: list[BatchBody]
    next_cursor: str | None


class CancelledAnswer(Answer):
    cancelled: int
