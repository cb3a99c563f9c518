"""The audit trail: who did what, shown to admins alone."""

from __future__ import annotations

import re

import pytest

from optimizer.accounts.live_keys import CACHE_LASTS_S
from optimizer.monitoring.audit import SENTENCES
from tests.paths import ROOT
from tests.web.access.conftest import Site, key_of, log_in
from tests.web.requests import error_of


@pytest.mark.proves("S33")
def test_logins_keys_and_what_changes_things_are_written_down(site: Site) -> None:
    key, _ = site.keys.add("carol")
    site.later(CACHE_LASTS_S)
    log_in(site.nobody, "alice", "w" * 40)
    log_in(site.nobody, key_of("alice"), "w" * 40)  # a key where the name belongs
    browser = site.by_session("alice")
    cancelled, deleted = (site.system.add(owner="alice").id for _ in range(2))
    browser.post(f"/api/tasks/{cancelled}/cancel")
    browser.delete(f"/api/tasks/{deleted}")
    site.by_key("mallory").delete(f"/api/tasks/{cancelled}")  # refused, so it is not there
    site.by_key("admin").patch("/api/system", json={"max_batch_size": 2})
    site.by_key("admin").post("/api/models/base/fetch")
    browser.post("/logout")
    site.keys.revoke(key.id)

    events = site.by_key("admin").get("/api/system/events?kind=audit").get_json()["events"]
    told = [(event["data"]["action"], event["data"]["by"]) for event in reversed(events)]
    assert told == [
        ("key_created", "command line"),
        ("login_failed", ""),
        ("login_failed", ""),
        ("login", "alice"),
        ("task_cancelled", "alice"),
        ("task_deleted", "alice"),
        ("limits_changed", "admin"),
        ("model_fetched", "admin"),
        ("logout", "alice"),
        ("key_revoked", "command line"),
    ]
    assert {event["at"] for event in events} <= {site.clock.now().timestamp(), site.clock.now().timestamp() - 2}
    by_action = {event["data"]["action"]: event["data"] for event in events}
    assert by_action["task_deleted"]["task_id"] == deleted
    assert by_action["limits_changed"]["max_batch_size"] == 2
    assert by_action["key_revoked"]["key"] == key.id
    assert [event["data"].get("account") for event in events if event["data"]["action"] == "login_failed"] == [
        None,
        "alice",
    ]
    for somebody in (key_of("alice"), "w" * 40):
        assert somebody not in str(events)
    (page,) = (
        site.by_key("admin").get(f"/api/system/events?kind=audit&limit=1&before={events[0]['id']}").get_json()["events"]
    )
    assert page == events[1]
    assert error_of(site.by_key("alice").get("/api/system/events?kind=audit")) == (403, "forbidden", None)
    assert site.by_key("admin").get("/api/system/events").get_json()["events"] == []


def test_without_accounts_nobody_is_written_down(make_site: object) -> None:
    site = make_site(api_keys="")  # type: ignore[operator]
    task = site.system.add()
    assert site.nobody.delete(f"/api/tasks/{task.id}").status_code == 204
    assert not (site.system.settings.data_dir / "tasks.db").exists()


def test_links_and_many_cancelled_at_once_are_written_down(site: Site) -> None:
    alice = site.by_key("alice")
    done, *_ = (site.system.add(owner="alice").id for _ in range(3))
    site.system.complete(done)
    share = alice.post(f"/api/tasks/{done}/shares", json={}).get_json()["share"]["id"]
    alice.delete(f"/api/tasks/{done}/shares/{share}")
    alice.post("/api/tasks/cancel", json={"all": True})

    events = site.by_key("admin").get("/api/system/events?kind=audit").get_json()["events"]
    assert [event["text"] for event in reversed(events)] == [
        "alice made a link to a transcript.",
        "alice revoked a link to a transcript.",
        "alice cancelled 2 tasks.",
    ]
    assert events[1]["data"] == {"action": "share_removed", "by": "alice", "task_id": done, "share_id": share}


def test_the_page_and_the_documentation_know_every_entry() -> None:
    sources = [*(ROOT / "optimizer").rglob("*.py"), *(ROOT / "web").rglob("*.py")]
    written = re.compile(r'(?:audit|record|audit\.add)\(\s*(?:connection, )?"([a-z_]+)"')
    assert {action for source in sources for action in written.findall(source.read_text())} == set(SENTENCES)
    for name in ("en", "zh"):
        text = (ROOT / f"static/text/{name}-system.js").read_text()
        assert set(re.findall(r"'audit\.(\w+)':", text)) == {"somebody", *SENTENCES}
    (row,) = (line for line in (ROOT / "docs/api.md").read_text().splitlines() if line.startswith("| `audit` |"))
    assert {action for action in SENTENCES if f"`{action}`" not in row} == set()
