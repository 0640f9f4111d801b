"""Machine-learning traffic classification as a sensor beside a Zeek cluster."""

__version__ = "0.1.0"
