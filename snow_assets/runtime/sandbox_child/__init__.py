"""What runs inside the sandbox's own interpreter: supervisor, judge and program. Stdlib only."""
