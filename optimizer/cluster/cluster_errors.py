"""What becomes of a question to an actor on a node, told apart by what to do then; only within the bridge."""

from __future__ import annotations


class ClusterError(Exception):
    """What was asked of the cluster did not happen. The text is a sentence."""


class ActorUnavailableError(ClusterError):
    """Perhaps it did and perhaps not; to be asked again."""


class ActorLostError(ClusterError):
    """The actor is gone for ever."""


class ActorFailedError(ClusterError):
    """The actor itself says so."""
