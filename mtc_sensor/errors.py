"""What can go wrong, as a user sees it.

Every error that a user can fix is a `MtcError`: the command line prints its message without a
traceback and exits with 1. A message names the file, the key or position, the offending value
and the remedy.
"""


class MtcError(Exception):
    """Something that the user can fix."""


class CaptureError(MtcError):
    """A capture file or an interface that cannot be read, or not to its end."""


class BundleError(MtcError):
    """A model bundle that is refused."""


class DataError(MtcError):
    """A manifest or a data set that cannot be trained or evaluated on."""


class OutputError(MtcError):
    """A log or a picture that cannot be written."""


class WireError(MtcError):
    """A message on Zeek's bus that is not what it should be; it is dropped and counted."""


class TransportError(MtcError):
    """A way to Zeek's bus that cannot be taken."""


class ConfigError(MtcError):
    """A configuration that is refused."""


class ZeekError(MtcError):
    """A Zeek that cannot be started, or did not do what it should."""


class StatusError(MtcError):
    """A running sensor whose metrics cannot be read."""
