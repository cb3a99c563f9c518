"""Nodes as Ray describes them."""

from __future__ import annotations

import pytest

from optimizer.cluster.ray_nodes import Node, node_of

ADDRESS = "192.0.2.11"


@pytest.mark.parametrize(
    ("given", "host", "name"),
    [
        (ADDRESS, "GPU2.example.org", "gpu2.example.org"),
        ("second", "gpu2", "second"),
        ("Ünder the desk", "gpu2", "nder-the-desk"),
        ("", "", "node"),
        ("a" * 40, "gpu2", "a" * 23),
    ],
)
def test_a_node_has_the_name_that_it_was_given_else_its_host_s(given: str, host: str, name: str) -> None:
    found = {"NodeID": "7", "NodeManagerAddress": ADDRESS, "NodeName": given, "NodeManagerHostname": host}
    assert node_of(found) == Node("7", name, ADDRESS, is_head=False)
    assert node_of({**found, "Resources": {"node:__internal_head__": 1.0}}).is_head
