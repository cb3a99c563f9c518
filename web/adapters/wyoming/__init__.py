"""The Wyoming protocol, by which Home Assistant has speech recognised. See docs/clients.md.

It has no address of the web application: it is spoken on a port of its own, where WYOMING_PORT says so.
"""
