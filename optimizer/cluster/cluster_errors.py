"""What becomes of a question to a host on a node, told apart by what to do then; only within the bridge."""

from __future__ import annotations


class ClusterError(Exception):
    """What was asked of the cluster did not happen. The text is a sentence."""


class HostUnavailableError(ClusterError):
    """Perhaps it did and perhaps not; to be asked again."""


class HostLostError(ClusterError):
    """The host is gone for ever."""


class HostFailedError(ClusterError):
    """The host itself says so."""
