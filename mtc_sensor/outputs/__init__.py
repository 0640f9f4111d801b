"""Verdicts and notices as files: Zeek's own log formats and ECS."""
