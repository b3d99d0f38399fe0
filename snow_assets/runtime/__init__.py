"""Processes that do a stage's work: workers, several processes of one job, the sandbox."""
