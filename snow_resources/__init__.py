"""Sockets to the outside: lake, GPU jobs, tracking, warehouse. They know no stage."""
