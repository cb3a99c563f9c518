"""Links for people without an account, as requests and answers name them."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from web.http.answer_schemas import Answer, Body
from web.http.request_schemas import Request, TaskPath

MAX_DAYS = 3650


class SharePath(TaskPath):
    share_id: str = Field(description="the link's id")


class NewShare(Request):
    model_config = ConfigDict(strict=True)  # lax would take `true` for 1

    days: int | None = Field(7, ge=1, le=MAX_DAYS, description="until it ends; null: until it is revoked")
    media: bool = Field(False, description="whether the recording can be heard, too")


class ShareBody(Body):
    id: str
    created_at: str
    expires_at: str | None = Field(description="null: it lasts until it is revoked")
    media: bool = Field(description="whether the recording can be heard, too")


class SharesAnswer(Answer):
    shares: list[ShareBody]


class NewShareAnswer(Answer):
    share: ShareBody
    path: str = Field(description="the link, below the server's address; it is not shown again")
