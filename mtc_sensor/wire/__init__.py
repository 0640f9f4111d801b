"""Zeek's bus as bytes and values, without I/O: formats, the event envelope, the MTC events."""
