"""Ids of files and texts, sha256 in hexadecimal.

`document_id` names one file of one repository in one source, `raw_id` its bytes as received,
`text_id` its redacted text, so that copies share it.
"""

import hashlib


def document_id(source: str, repository: str, path: str, raw_id: str) -> str:
    """Name one received file: the same file of the same snapshot always has the same name."""
    return hashlib.sha256("\0".join((source, repository, path, raw_id)).encode()).hexdigest()


def text_id(text: str) -> str:
    """Name a text by its content (UTF-8; a lone surrogate is an error of the caller)."""
    return hashlib.sha256(text.encode()).hexdigest()
