"""Webhooks: what is sent when a task ends, to whom, how often, and how it is signed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook as Oracle

from errors import ConflictError, WebhookNotFoundError
from optimizer.automation import dispatcher as dispatching
from optimizer.automation.backoff import MAX_ATTEMPTS, delay_after
from optimizer.automation.dispatcher import WebhookDispatcher
from optimizer.automation.sender import Sender
from optimizer.automation.webhook_store import WebhookStore
from optimizer.automation.webhooks import MAX_WEBHOOKS, Webhooks
from optimizer.common.guarded_http import GuardedHttpError, PostAnswer
from optimizer.storage.store import TaskStore
from optimizer.storage.webhook_outbox import WebhookOutbox
from optimizer.tasks.segments_key import segments_key
from optimizer.tasks.speakers_key import speakers_key
from tests.optimizer.automation.receivers import Receiver, receiving
from tests.optimizer.fakes import FakeClock
from tests.optimizer.queue.helpers import Queue

pytestmark = pytest.mark.usefixtures("each_database")  # see tests/databases.py

KEY = b"k" * 32
SETTINGS_SECRET = "whsec_" + "c2VjcmV0" * 5
EVENTS = ("task.completed", "task.failed", "task.cancelled")


@dataclass
class Post:
    """Stands for the network."""

    rig: Rig
    is_aborted: bool = False

    def send(self, url: str, body: bytes, headers: dict[str, str]) -> PostAnswer:
        self.rig.sent.append((url, json.loads(body), headers))
        answer = self.rig.answers.get(url, 204)
        if isinstance(answer, str):
            raise GuardedHttpError(answer)
        return PostAnswer(answer)

    def abort(self) -> None:
        self.is_aborted = True


class FakeSender(Sender):
    rig: Rig

    def make_post(self) -> Any:
        self.rig.posts.append(Post(self.rig))
        return self.rig.posts[-1]


@dataclass
class Rig:
    queue: Queue
    clock: FakeClock
    store: WebhookStore
    webhooks: Webhooks
    sent: list[tuple[str, dict[str, Any], dict[str, str]]] = field(default_factory=list)
    answers: dict[str, int | str] = field(default_factory=dict)
    posts: list[Post] = field(default_factory=list)
    held: list[Callable[[], None]] = field(default_factory=list)
    is_holding: bool = False

    def __post_init__(self) -> None:
        sender = FakeSender(
            self.store, self.clock, key=lambda: KEY, settings_secret=SETTINGS_SECRET, allow_private=True
        )
        sender.rig = self
        self.dispatcher = WebhookDispatcher(self.store, sender, self.clock, chance=lambda: 0.5, spawn=self._spawn)

    def _spawn(self, work: Callable[[], None]) -> None:
        if self.is_holding:
            self.held.append(work)
        else:
            work()

    def complete(self, task_id: str, **changes: object) -> None:
        self.queue.submit(task_id, **changes)
        self.queue.complete(self.queue.claim(task_id))


@pytest.fixture
def rig(tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    made = TaskStore(tmp_path, outbox=WebhookOutbox(("https://of-settings.example/",)))
    monkeypatch.setattr("tests.optimizer.queue.helpers.TaskStore", lambda _: made)
    queue = Queue(tmp_path, clock)
    store = WebhookStore(queue.store.database)
    webhooks = Webhooks(store, clock, key=lambda: KEY, allow_private=False, wake=lambda: None)
    yield Rig(queue, clock, store, webhooks)
    queue.store.close()


def test_nobody_is_told_of_a_task_that_only_adds_to_another_ones_text(rig: Rig) -> None:
    rig.complete("speakers", idempotency_key=speakers_key("a", None))
    rig.complete("segments", idempotency_key=segments_key("a", 0, (1,), "base"))
    rig.complete("own", idempotency_key="segments-of-mine")
    rig.dispatcher.run_due()
    assert [body["data"]["task"]["id"] for _, body, _ in rig.sent] == ["own"]


def test_each_ending_is_told_once_to_those_who_asked_for_it(rig: Rig) -> None:
    _, secret = rig.webhooks.add("alice", "https://alice.example/", EVENTS)
    rig.webhooks.add("alice", "https://failures.example/", ("task.failed",))
    rig.webhooks.add("bob", "https://bob.example/", EVENTS)
    rig.complete("a", owner="alice", callback_url="https://callback.example/?token=1")
    rig.queue.submit("b", owner="alice")
    rig.queue.fail(rig.queue.claim("b"), is_retryable=False)
    rig.queue.submit("c", owner="alice")
    rig.queue.manager.cancel("c")
    rig.queue.manager.cancel("c")
    rig.queue.submit("d", owner="alice")
    rig.dispatcher.run_due()
    rig.dispatcher.run_due()
    told = sorted((url.split("/")[2], body["type"], body["data"]["task"]["id"]) for url, body, _ in rig.sent)
    assert told == sorted(
        [
            ("alice.example", "task.completed", "a"),
            ("alice.example", "task.failed", "b"),
            ("alice.example", "task.cancelled", "c"),
            ("failures.example", "task.failed", "b"),
            ("callback.example", "task.completed", "a"),
            *(("of-settings.example", event, task) for event, task in zip(EVENTS, "abc", strict=True)),
        ]
    )
    secrets = {
        "alice.example": secret,
        "callback.example": rig.webhooks.callback_secret("alice"),
        "of-settings.example": SETTINGS_SECRET,
    }
    for url, body, headers in rig.sent:
        if (host := url.split("/")[2]) in secrets:
            text = json.dumps(body, ensure_ascii=False)
            signature = Oracle(secrets[host]).sign(headers["webhook-id"], rig.clock.now(), text)
            assert headers["webhook-signature"] == signature
    failed = next(body for _, body, _ in rig.sent if body["type"] == "task.failed")
    assert failed["data"]["task"]["error"]["code"] == "out_of_memory"
    assert failed["data"]["task"]["transcript_url"] is None


def test_a_real_receiver_can_verify_what_it_gets(rig: Rig) -> None:
    with receiving(Receiver()) as receiver:
        allowing = Webhooks(rig.store, rig.clock, key=lambda: KEY, allow_private=True, wake=lambda: None)
        _, secret = allowing.add("alice", receiver.url, EVENTS)
        rig.complete("a", owner="alice", filename="großes Interview.mp3")
        sender = Sender(rig.store, _Now(), key=lambda: KEY, settings_secret=SETTINGS_SECRET, allow_private=True)
        (delivery,) = rig.store.deliveries(allowing.all_of("alice")[0].id, None)
        assert sender.send(delivery, sender.make_post()).is_delivered
        (headers, body) = receiver.got[0]
        verified = Oracle(secret).verify(body, headers)
        assert verified["data"]["task"]["filename"] == "großes Interview.mp3"
        assert headers["content-type"] == "application/json"


class _Now(FakeClock):
    """The oracle compares with the machine's own time."""

    def now(self) -> Any:
        from optimizer.common.clock import SystemClock

        return SystemClock().now()


def test_what_fails_is_tried_again_later_and_later_under_the_same_id_and_then_given_up(rig: Rig) -> None:
    webhook, _ = rig.webhooks.add("alice", "https://down.example/", EVENTS)
    rig.answers["https://down.example/"] = 503
    rig.complete("a", owner="alice")
    waits = []
    for attempt in range(1, MAX_ATTEMPTS + 1):
        rig.dispatcher.run_due()
        (delivery,) = rig.store.deliveries(webhook.id, None)
        assert (delivery.attempts, delivery.http_status) == (attempt, 503)
        rig.dispatcher.run_due()  # not before it is due
        assert rig.store.deliveries(webhook.id, None)[0].attempts == attempt
        waits.append(delivery.next_at - rig.clock.now().timestamp())
        rig.clock.advance(waits[-1])
    assert waits == pytest.approx([*map(delay_after, range(1, MAX_ATTEMPTS)), 0])
    assert (delivery.status, sum(waits) > 12 * 3600) == ("failed", True)
    tried = [headers["webhook-id"] for url, _, headers in rig.sent if "down" in url]
    assert tried == [delivery.id] * MAX_ATTEMPTS
    rig.clock.advance(8 * 86400)
    rig.dispatcher.run_due()
    assert rig.store.deliveries(webhook.id, None) == []  # the log is kept for a week


@pytest.mark.parametrize("answer", [410, "private_address"])
def test_what_is_hopeless_is_not_tried_again(rig: Rig, answer: int | str) -> None:
    webhook, _ = rig.webhooks.add("alice", "https://gone.example/", EVENTS)
    rig.answers["https://gone.example/"] = answer
    rig.complete("a", owner="alice")
    rig.dispatcher.run_due()
    assert rig.store.deliveries(webhook.id, None)[0].status == "failed"
    rig.complete("b", owner="alice")
    is_disabled = answer == 410
    assert (rig.webhooks.all_of("alice")[0].disabled_at is not None) == is_disabled
    assert len(rig.store.deliveries(webhook.id, None)) == (1 if is_disabled else 2)


def test_receivers_that_hang_hold_up_nobody_else_and_are_cut_off(rig: Rig) -> None:
    rig.is_holding = True
    for number in range(4):
        for each in range(4):
            rig.complete(f"{number}-{each}", callback_url=f"https://slow-{number}.example/")
    rig.dispatcher._failing = {f"slow-{number}.example:443" for number in range(4)}
    rig.dispatcher.run_due()
    running = [attempt.delivery.receiver for attempt in rig.dispatcher._running.values()]
    assert sum("slow" in receiver for receiver in running) == dispatching.MAX_TO_FAILING
    assert running.count("of-settings.example:443") == dispatching.MAX_PER_RECEIVER
    rig.clock.advance(dispatching.ATTEMPT_S)
    rig.dispatcher.run_due()
    assert all(post.is_aborted for post in rig.posts[: len(running)])
    for work in rig.held:
        work()


def test_a_deleted_task_is_told_of_no_more_and_leaves_nothing(rig: Rig) -> None:
    rig.complete("a", callback_url="https://callback.example/")
    rig.queue.manager.delete("a")
    rig.dispatcher.run_due()
    assert rig.sent == []
    assert rig.store.deliveries("callbacks", None) == []


def test_a_clock_that_was_set_back_holds_nothing_up_for_longer_than_a_delay(rig: Rig) -> None:
    rig.complete("a", callback_url="https://callback.example/")
    rig.clock.jump(-30 * 86400)
    rig.dispatcher.run_due()
    assert len(rig.sent) == 2


def test_what_is_broken_off_by_a_stop_is_sent_after_the_next_start(rig: Rig) -> None:
    rig.is_holding = True
    rig.complete("a", callback_url="https://callback.example/")
    rig.answers = dict.fromkeys(("https://callback.example/", "https://of-settings.example/"), "timeout")
    rig.dispatcher.run_due()
    rig.dispatcher.stop()
    for work in rig.held:
        work()
    assert [delivery.attempts for delivery in rig.store.deliveries("callbacks", None)] == [0]


def test_a_test_is_sent_like_everything_else(rig: Rig) -> None:
    webhook, _ = rig.webhooks.add("alice", "https://alice.example/", ("task.failed",))
    delivery = rig.webhooks.test(webhook.id, "alice")
    with pytest.raises(ConflictError):
        rig.webhooks.test(webhook.id, "alice")
    with pytest.raises(WebhookNotFoundError):
        rig.webhooks.test(webhook.id, "bob")
    rig.dispatcher.run_due()
    assert [(body["type"], headers["webhook-id"]) for _, body, headers in rig.sent] == [("webhook.test", delivery.id)]
    rig.webhooks.test(webhook.id, "alice")


def test_one_owner_has_so_many_webhooks_at_most(rig: Rig) -> None:
    for number in range(MAX_WEBHOOKS):
        rig.webhooks.add("alice", f"https://a.example/{number}", EVENTS)
    with pytest.raises(ConflictError):
        rig.webhooks.add("alice", "https://a.example/", EVENTS)
    rig.webhooks.add("bob", "https://a.example/", EVENTS)
