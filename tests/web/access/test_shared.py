"""Links to one transcript: whoever has one reads that, for as long as it lasts, and gets to nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from errors import TaskNotFoundError
from optimizer.sharing.shares import Shares
from optimizer.storage.store import TaskStore
from tests.optimizer.fakes import FakeClock
from tests.web.access.conftest import Site
from tests.web.requests import error_of

DAY_S = 24 * 3600
JSON = {"Accept": "application/json"}


@pytest.fixture
def task_id(site: Site) -> str:
    task_id = site.system.add("interview <b>.flac", owner="alice").id
    site.system.complete(task_id, " Our salaries & <script>alert(1)</script>.")
    return task_id


def shared_by(client: FlaskClient, task_id: str, **wanted: Any) -> dict[str, Any]:
    answer = client.post(f"/api/tasks/{task_id}/shares", json=wanted)
    assert answer.status_code == 201
    made: dict[str, Any] = answer.get_json()
    return made


def test_a_stranger_with_the_link_reads_and_downloads(site: Site, task_id: str) -> None:
    link = shared_by(site.by_key("alice"), task_id)["path"]
    page = site.nobody.get(f"/{link}")
    assert page.status_code == 200
    assert "Our salaries &amp; &lt;script&gt;" in page.text
    assert "interview &lt;b&gt;" in page.text
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert "noindex" in page.headers["X-Robots-Tag"]
    assert "no-cache" in page.headers["Cache-Control"]
    text = site.nobody.get(f"/{link}/transcript?format=txt")
    assert text.text.strip() == "Our salaries & <script>alert(1)</script>."
    assert "attachment" in text.headers["Content-Disposition"]


def test_the_link_opens_nothing_else(site: Site, task_id: str) -> None:
    link = shared_by(site.by_key("alice"), task_id)["path"]
    assert error_of(site.nobody.get(f"/{link}/media", headers={"Accept": "application/json"}))[:2] == (
        404,
        "share_not_found",
    )
    token = link.removeprefix("s/")
    for address in (f"/api/tasks/{task_id}", f"/api/tasks/{task_id}/transcript", f"/api/tasks/{token}"):
        assert site.nobody.get(address).status_code == 401
    for query in (f"bilingual={task_id}", "version=original"):
        refused = error_of(site.nobody.get(f"/{link}/transcript?{query}"))
        assert refused == (422, "invalid_option", query.partition("=")[0])


def test_the_recording_is_heard_only_where_that_was_wanted(site: Site, task_id: str) -> None:
    link = shared_by(site.by_key("alice"), task_id, media=True)["path"]
    assert f'src="{link.removeprefix("s/")}/media"' in site.nobody.get(f"/{link}").text
    with site.nobody.get(f"/{link}/media", headers={"Range": "bytes=0-3"}) as part:
        assert (part.status_code, len(part.data)) == (206, 4)


def test_a_recording_that_was_removed_for_its_age_is_not_offered(site: Site, task_id: str) -> None:
    link = shared_by(site.by_key("alice"), task_id, media=True)["path"]
    site.system.remove_media(task_id)
    page = site.nobody.get(f"/{link}")
    assert "Our salaries" in page.text
    assert "<audio" not in page.text
    assert error_of(site.nobody.get(f"/{link}/media", headers=JSON)) == (410, "media_removed", None)


def test_a_reader_sees_what_people_have_changed(site: Site, task_id: str) -> None:
    alice = site.by_key("alice")
    link = shared_by(alice, task_id)["path"]
    edit = {"kind": "set_text", "segment": 0, "text": "Nothing of interest."}
    assert alice.post(f"/api/tasks/{task_id}/edits", json={"base": 0, "edits": [edit]}).status_code == 200
    for address in (f"/{link}", *(f"/{link}/transcript?format={name}" for name in ("txt", "json", "srt", "whisperx"))):
        answer = site.nobody.get(address)
        assert "Nothing of interest." in answer.text
        assert "salaries" not in answer.text
        head = site.nobody.head(address)
        assert (head.status_code, head.data) == (200, b"")
        assert head.headers["Cache-Control"] == "private, no-cache"


def test_links_to_one_transcript_are_so_many_at_most(site: Site, task_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optimizer.sharing.shares.MOST_OF_A_TASK", 2)
    alice = site.by_key("alice")
    shared_by(alice, task_id, days=1)
    kept = shared_by(alice, task_id, days=None)
    refused = alice.post(f"/api/tasks/{task_id}/shares", json={})
    assert error_of(refused) == (409, "conflict", None)
    site.later(2 * DAY_S)
    shared_by(alice, task_id)  # one has ended
    assert alice.delete(f"/api/tasks/{task_id}/shares/{kept['share']['id']}").status_code == 204
    shared_by(alice, task_id)


def test_a_task_that_was_just_deleted_gets_no_link(tmp_path: Path) -> None:
    store = TaskStore(tmp_path)
    store.open()
    with pytest.raises(TaskNotFoundError):
        Shares(store.database, FakeClock()).add("gone", None, has_media=False)
    store.close()


@pytest.mark.parametrize(("days", "is_over"), [(1, True), (7, False), (None, False)])
def test_a_link_ends_at_its_date(site: Site, task_id: str, days: int | None, is_over: bool) -> None:
    alice = site.by_key("alice")
    link = shared_by(alice, task_id, days=days)["path"]
    site.later(2 * DAY_S)
    assert site.nobody.get(f"/{link}").status_code == (404 if is_over else 200)
    assert len(alice.get(f"/api/tasks/{task_id}/shares").get_json()["shares"]) == (0 if is_over else 1)


def test_a_revoked_link_leads_nowhere(site: Site, task_id: str) -> None:
    alice, mallory = site.by_key("alice"), site.by_key("mallory")
    made = shared_by(alice, task_id)
    address = f"/api/tasks/{task_id}/shares/{made['share']['id']}"
    assert error_of(mallory.delete(address))[:2] == (404, "task_not_found")
    other = site.system.add("other.flac", owner="alice").id
    assert error_of(alice.delete(address.replace(task_id, other)))[:2] == (404, "share_not_found")
    assert site.nobody.get(f"/{made['path']}").status_code == 200
    assert alice.delete(address).status_code == 204
    assert site.nobody.get(f"/{made['path']}").status_code == 404
    assert error_of(alice.delete(address))[:2] == (404, "share_not_found")


def test_the_token_is_told_once_and_kept_as_a_hash(site: Site, task_id: str) -> None:
    alice = site.by_key("alice")
    token = shared_by(alice, task_id)["path"].removeprefix("s/")
    assert len(token) == 32
    assert token not in alice.get(f"/api/tasks/{task_id}/shares").text
    assert token not in site.by_key("admin").get("/api/system/events?kind=audit").text
    for file in site.system.settings.data_dir.rglob("*"):
        assert not file.is_file() or token.encode() not in file.read_bytes()


def test_only_a_finished_transcript_can_be_shared(site: Site) -> None:
    task = site.system.add("talk.flac", owner="alice")
    refused = site.by_key("alice").post(f"/api/tasks/{task.id}/shares", json={})
    assert error_of(refused)[:2] == (409, "transcript_not_ready")


@pytest.mark.parametrize("days", [0, -1, 4000, "x", 1.5, True, "7"])
def test_an_unusable_time_is_refused(site: Site, task_id: str, days: object) -> None:
    refused = site.by_key("alice").post(f"/api/tasks/{task_id}/shares", json={"days": days})
    assert error_of(refused) == (422, "invalid_option", "days")


def test_whoever_guesses_is_held_up(make_site: Any) -> None:
    site = make_site(requests_per_minute=3)
    codes = [site.nobody.get(f"/s/guess-{number}").status_code for number in range(5)]
    assert codes == [404, 404, 404, 429, 429]
