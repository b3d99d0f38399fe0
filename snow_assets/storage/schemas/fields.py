"""Fields that schemas share."""

import pyarrow as pa


def required(name: str, kind: pa.DataType) -> pa.Field:
    """A field without nulls."""
    return pa.field(name, kind, nullable=False)


def without(schema: pa.Schema, *columns: str) -> pa.Schema:
    """A schema without optional columns, which readers take for null."""
    return pa.schema([field for field in schema if field.name not in columns])


PROVENANCE = [
    required("document_id", pa.string()),
    required("raw_id", pa.string()),
    required("source", pa.string()),
    required("repository", pa.string()),
    required("revision", pa.string()),
    required("path", pa.string()),
    required("license", pa.string()),  # SPDX, of the allow-list; several that apply: A AND B
]
"""What names a received file, its origin and its terms."""
