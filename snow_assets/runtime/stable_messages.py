"""Messages of sandboxed programs without what differs between equal runs."""

import re

FOLDER_PREFIX = "snow-sandbox-"
"""Of the temporary folder that a sandboxed program runs in."""

# These differ between runs: memory addresses, temporary folders, names by `tempfile`, and the
# descriptor of the folder that modules are imported through.
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,16}\b")
_TEMPORARY = re.compile(rf"/[^\s'\"]*/{FOLDER_PREFIX}\w+|/tmp/[^\s/'\"]+")
_TEMPORARY_NAME = re.compile(r"\btmp[a-z0-9_]{8}\b")
_DESCRIPTOR = re.compile(r"/proc/self/fd/\d+")


def stable_message(message: str | None) -> str | None:
    """Normalise memory addresses, temporary paths and descriptors, so that equal runs give equal
    messages."""
    if message is None:
        return None
    message = _TEMPORARY.sub("/tmp/...", _ADDRESS.sub("0x...", message))  # noqa: S108
    return _DESCRIPTOR.sub("/proc/self/fd/...", _TEMPORARY_NAME.sub("tmp...", message))
