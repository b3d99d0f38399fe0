"""The row types that travel between stages, as Arrow schemas, a module for each group of stages.

An artifact (see `shards`) holds one or more tables; each schema is one table. A name that ends in
`_id` is a sha256 in hexadecimal (see `ids`).
"""
