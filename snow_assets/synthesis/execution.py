"""Sandbox job: run generated files. Needs no GPU, no torch and no lake."""

from snow_assets.runtime import sandbox, worker
from snow_assets.synthesis.contract import (
    FileExecution,
    FileExecutionReport,
    FileExecutionRequest,
)

_MESSAGE_CHARS = 500


def work(request: FileExecutionRequest, progress: worker.Progress) -> FileExecutionReport:
    """Run the programs at the same time, each in the sandbox.

    ValueError without a sandbox: nothing is run, and there is no report that later runs would
    reuse. Memory: that of `sandbox.run_all`.
    """
    isolation = sandbox.probe()
    if not isolation.available:
        raise ValueError(
            f"no generated file was run, because no sandbox is available: {isolation.reason}; run "
            "where one is, or set acceptance.execution to 'off'"
        )
    limits = sandbox.Limits(seconds=request.timeout_seconds)
    results = sandbox.run_all(
        [sandbox.Execution(program=source, limits=limits) for source in request.programs],
        num_cpus=request.num_cpus,
    )
    passed = sum(result.outcome == "passed" for result in results)
    progress.log(f"{passed} of {len(results)} generated files ran to their end")
    return FileExecutionReport(
        isolation=isolation.level,
        executions=tuple(
            FileExecution(outcome=result.outcome, message=_message(result)) for result in results
        ),
    )


def _message(result: sandbox.ExecutionResult) -> str:
    """The end of a failed program's output, short: a pod returns its report by its log."""
    if result.outcome == "passed":
        return ""
    return (sandbox.stable_message(result.message) or "").strip()[-_MESSAGE_CHARS:]


if __name__ == "__main__":
    worker.main(FileExecutionRequest, work)
