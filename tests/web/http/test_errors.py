"""Which HTTP status each error of the project has."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

from errors import StartError, TaskError, TranscriptionServerError
from web.http.errors import STATUS_OF, status_of


def with_subclasses(error_class: type[TranscriptionServerError]) -> Iterator[type[TranscriptionServerError]]:
    yield error_class
    for subclass in error_class.__subclasses__():
        yield from with_subclasses(subclass)


def test_every_error_that_is_meant_for_a_request_has_its_own_status() -> None:
    not_for_requests = {*with_subclasses(TaskError), *with_subclasses(StartError)}
    assert set(STATUS_OF) == set(with_subclasses(TranscriptionServerError)) - not_for_requests


def test_an_error_that_no_request_should_meet_is_the_servers_fault() -> None:
    assert {status_of(error) for error in with_subclasses(TaskError)} == {HTTPStatus.INTERNAL_SERVER_ERROR}
