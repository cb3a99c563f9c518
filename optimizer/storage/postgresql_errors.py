"""What PostgreSQL's errors mean: while it is used, and when a connection cannot be made."""

from __future__ import annotations

import re

import psycopg
from sqlalchemy.exc import DBAPIError

from errors import (
    DatabaseDamagedError,
    DatabaseUnreachableError,
    DiskFullError,
    InvalidSettingsError,
    StoreBusyError,
    TranscriptionServerError,
)
from optimizer.storage.dialect import NO_RIGHTS, READ_ONLY

UNREACHABLE = "The database server cannot be reached at the moment. Nothing was changed."
POOLED = (
    "DATABASE_URL: the database server {place} is a pooler that lends its sessions for one transaction or statement. "
    "The server needs them for as long as it is connected: set pool_mode=session (PgBouncer) or name PostgreSQL itself."
)
# A server's own words, in any language: its severity, a colon and two spaces. libpq itself writes one.
_SAID_BY_SERVER = re.compile(r"[^\s:]:  \S")
# Ends the attempt, not the chance of the next one.
_PASSING = re.compile(
    r"connection slots|too many (clients|connections)|starting up|shutting down|recovery mode|not (yet )?accepting|"
    r"SYSCALL|closed (the connection )?unexpectedly|unexpected eof|could not (receive|send)|Connection reset|"
    r"timeout expired",
    re.IGNORECASE,
)
# libpq's own words, before it connects: an option's value that it does not know.
_BAD_OPTION = re.compile(r"connection is bad: invalid .*value")


def translate(error: DBAPIError | psycopg.Error) -> TranscriptionServerError:
    """The error of ours that stands for PostgreSQL's."""
    cause = _cause(error)
    state = (cause.sqlstate if isinstance(cause, psycopg.Error) else None) or ""
    match state[:2], state:
        case _, "55P03" | "40001" | "40P01" | "57014" | "25P03" | "25P04":
            return StoreBusyError()
        case _, "53100":
            return DiskFullError("The database server's disk is full, so the database could not be changed.")
        case _, "42501":
            return DatabaseDamagedError(NO_RIGHTS)
        case _, "25006":
            return DatabaseDamagedError(READ_ONLY)
        case _, "3F000":
            return InvalidSettingsError(
                "DATABASE_URL: the database has no schema that the tables could be in. Check search_path, there and in "
                "the options of DATABASE_URL."
            )
        case "XX", "XX001" | "XX002":
            return DatabaseDamagedError("The database is damaged: its server found data that it cannot read.")
        case (("08" | "57" | "53"), _):
            return StoreBusyError(UNREACHABLE)
    is_lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if is_lost or (not state and _is_of_connection(error)):
        return StoreBusyError(UNREACHABLE)
    return StoreBusyError("The database could not be used. Nothing was changed; the server's log has the details.")


def start_error(error: DBAPIError | psycopg.Error, place: str) -> TranscriptionServerError:
    """The same for a connection that could not be made, in words of our own: the server's may be in any language, and
    its log has them. place: as `place_of`."""
    cause = _cause(error)
    doubt = doubt_of(cause)
    if doubt is not None:
        return InvalidSettingsError(f"DATABASE_URL: the database server {place} is not trusted: {doubt}")
    refusal = refusal_of(cause)
    if refusal is not None:
        return InvalidSettingsError(f"DATABASE_URL: the database server {place} refused the login: {refusal}")
    if was_refused(cause):
        return DatabaseUnreachableError(
            f"The database server {place} was reached and let nobody in; its log says why. It may be starting or have "
            "no connection free. If not, check the user and the password in DATABASE_URL."
        )
    if re.search(r"statement pooling mode", str(cause)):
        return InvalidSettingsError(POOLED.format(place=place))
    if _BAD_OPTION.search(str(cause)):
        return InvalidSettingsError("DATABASE_URL has an option with a value that PostgreSQL's client does not know.")
    if _is_of_connection(error):
        return DatabaseUnreachableError(
            f"The database server {place} cannot be reached. Check that it runs, and DATABASE_URL."
        )
    if isinstance(cause, psycopg.ProgrammingError) and cause.sqlstate is None:
        return InvalidSettingsError("DATABASE_URL has an option that PostgreSQL's client does not know.")
    return translate(error)


def doubt_of(cause: BaseException | None) -> str | None:
    """Why a server was not told the password, as a sentence: it could not prove by TLS who it is."""
    said = str(cause)
    if re.search(r"certificate verify failed", said):
        return "its certificate is of no authority in the file that sslrootcert names, or has expired."
    if re.search(r"server certificate .* does not match host name", said):
        return "its certificate is for another name than the one that DATABASE_URL has."
    if re.search(r"root certificate file", said):
        return "the file that sslrootcert names, or ~/.postgresql/root.crt, is missing or has no certificates."
    return None


def refusal_of(cause: BaseException | None) -> str | None:
    """Why a server that was reached will never let us in like this, as a sentence; None when it was another error.

    libpq gives only a text for it, in the server's language where that could translate it. What is not understood is
    no refusal, so that nobody gives up for what passes: a password counts as wrong only where that was said, because a
    connection that is lost during the login has used the password, too.
    """
    said = str(cause)
    connection = getattr(cause, "pgconn", None)
    if _PASSING.search(said):
        return None
    if re.search(r"FATAL:\s+database .* does not exist", said):
        return "it has no database of that name. Make it with: createdb NAME"
    if re.search(r"FATAL:\s+role .* does not exist", said):
        return "it has no user of that name."
    if connection is not None and connection.needs_password:
        return "it wants a password."
    if re.search(r"authentication failed", said):
        return "the user or the password is wrong."
    if re.search(r"pg_hba\.conf|SSL|certificate|private key file|channel binding required", said):
        return "it does not take connections like this one; see pg_hba.conf there, and sslmode here."
    return None


def was_refused(cause: BaseException | None) -> bool:
    """Whether a server was reached that let nobody in, whatever it said."""
    is_connecting = isinstance(cause, psycopg.OperationalError) and cause.sqlstate is None
    return is_connecting and _SAID_BY_SERVER.search(str(cause)) is not None


def _is_of_connection(error: DBAPIError | psycopg.Error) -> bool:
    return isinstance(_cause(error), psycopg.OperationalError | psycopg.InterfaceError)


def _cause(error: DBAPIError | psycopg.Error) -> BaseException | None:
    return error.orig if isinstance(error, DBAPIError) else error
