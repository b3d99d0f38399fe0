"""Sandbox job: run generated files. Needs no GPU, no torch and no lake."""

from snow_assets.runtime import sandbox, worker
from snow_assets.runtime.stable_messages import stable_message
from snow_assets.synthesis.contract import (
    FileExecution,
    FileExecutionReport,
    FileExecutionRequest,
)
from snow_assets.synthesis.programs import num_tests

_MESSAGE_CHARS = 500
_TRACEBACK = "Traceback (most recent call last):"


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
        executions=tuple(map(_execution, results)),
    )


def _execution(result: sandbox.ExecutionResult) -> FileExecution:
    has_passed = result.outcome == "passed"
    return FileExecution(
        outcome=result.outcome,
        message=_message(result),
        num_tests=num_tests(result.message) if has_passed else 0,
    )


def _message(result: sandbox.ExecutionResult) -> str:
    """The end of a failed program's last traceback, short: a pod returns its report by its log.

    Output before it is left out, since it may hold times; and all of a program that was stopped.
    """
    if result.outcome != "failed":
        return ""
    message = stable_message(result.message) or ""
    _, _, traceback = message.rpartition(_TRACEBACK)
    return traceback.strip()[-_MESSAGE_CHARS:]


if __name__ == "__main__":
    worker.main(FileExecutionRequest, work)
