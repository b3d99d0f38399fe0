"""Whether the sandbox can run a generated file, and the program that runs it with its tests.

The sandbox has Python's standard library, no network, no other processes, no input and no
arguments (`runtime/sandbox.py`). A file that needs more says nothing about itself by failing there.
"""

import ast
import re
import sys
from collections.abc import Iterator
from typing import Literal

Runnability = Literal[
    "runnable", "not_python", "needs_modules", "needs_system_calls", "reads_input"
]

_PYTHON = ("python", "jupyter")
_REFUSED_MODULES = frozenset(
    {
        "antigravity",
        "asyncio.subprocess",
        "concurrent.futures.process",
        "curses",
        "dbm",
        "ensurepip",
        "ftplib",
        "http.client",
        "http.server",
        "idlelib",
        "imaplib",
        "msvcrt",
        "multiprocessing",
        "nntplib",
        "poplib",
        "pty",
        "shelve",
        "smtplib",
        "socket",
        "socketserver",
        "ssl",
        "subprocess",
        "telnetlib",
        "tkinter",
        "turtle",
        "turtledemo",
        "urllib.request",
        "venv",
        "webbrowser",
        "winreg",
        "winsound",
        "wsgiref",
        "xmlrpc",
    }
)
"""Modules of the standard library that need what the sandbox refuses, or are of other systems."""
_EXEC_SUFFIXES = ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")
_REFUSED_FUNCTIONS = frozenset(
    {
        "asyncio.create_subprocess_exec",
        "asyncio.create_subprocess_shell",
        "asyncio.open_connection",
        "asyncio.open_unix_connection",
        "asyncio.start_server",
        "asyncio.start_unix_server",
        "concurrent.futures.ProcessPoolExecutor",
        "os.chmod",
        "os.chown",
        "os.fchmod",
        "os.fchown",
        "os.fork",
        "os.forkpty",
        "os.kill",
        "os.killpg",
        "os.lchown",
        "os.mkfifo",
        "os.mknod",
        "os.nice",
        "os.popen",
        "os.posix_spawn",
        "os.posix_spawnp",
        "os.setpgid",
        "os.setsid",
        "os.startfile",
        "os.system",
        "os.utime",
        "shutil.chown",
        "shutil.copy",
        "shutil.copy2",
        "shutil.copymode",
        "shutil.copystat",
        "shutil.copytree",
        *(f"os.exec{suffix}" for suffix in _EXEC_SUFFIXES),
        *(f"os.spawn{suffix}" for suffix in _EXEC_SUFFIXES),
    }
)
"""Functions that start or signal processes, open connections, or change a file's mode, owner or
times."""
_INPUT_NAMES = frozenset({"argparse", "fileinput", "getopt", "getpass", "optparse"})
_INPUT_NAMES |= {"os.get_terminal_size", "os.getlogin", "sys.argv", "sys.stdin"}
_INPUT_FUNCTIONS = frozenset({"input", "raw_input"})
_NAME_PARTS = max(name.count(".") + 1 for name in _REFUSED_MODULES | _REFUSED_FUNCTIONS)

# The file's text is compiled apart, so that `from __future__` may begin it. Tests are functions
# `test*` without required parameters, the `test*` methods of `unittest.TestCase`, and doctests. The
# interpreter starts without `site`, which defines `exit` and `quit`. unittest's own output holds
# the time that the tests took, so that it is discarded.
_DRIVER = """\
def _run_file():
    import os, site, sys
    main, write, num_tests = sys.modules["__main__"], os.write, 0
    del main._run_file
    main.__file__ = "program.py"
    site.setquit()
    site.setcopyright()
    site.sethelper()
    code = compile({text!r}, "program.py", "exec", dont_inherit=True)
    try:
        exec(code, main.__dict__)
    except SystemExit as end:
        if end.code not in (None, 0):
            raise
    if {has_tests!r}:
        import doctest, inspect, io, unittest
        suite, loader = unittest.TestSuite(), unittest.TestLoader()
        for name, value in list(vars(main).items()):
            if inspect.isclass(value) and issubclass(value, unittest.TestCase):
                if value.__module__ == "__main__":
                    suite.addTests(loader.loadTestsFromTestCase(value))
            elif name in {test_functions!r} and inspect.isfunction(value):
                suite.addTest(unittest.FunctionTestCase(value))
        suite.addTests(doctest.DocTestSuite(main))
        result = unittest.TextTestRunner(stream=io.StringIO(), verbosity=0).run(suite)
        failed = result.failures + result.errors
        failed += [(test, "unexpected success") for test in result.unexpectedSuccesses]
        if failed:
            test, trace = failed[0]
            reason = trace.strip().splitlines()[-1]
            count = f"{{len(failed)}} of {{result.testsRun}} tests"
            raise AssertionError(f"{{count}}: {{test}}: {{reason}}")
        num_tests = max(0, result.testsRun - len(result.skipped))
    write(1, b"\\nnum_tests=%d\\n" % num_tests)

_run_file()
"""
_NUM_TESTS = re.compile(r"^num_tests=(\d+)\n\Z", re.MULTILINE)


def runnability(text: str, language: str) -> Runnability:
    """Whether the sandbox can run a file that parses, or what it lacks for that."""
    if language not in _PYTHON:
        return "not_python"
    tree = ast.parse(text)
    if not all(_is_available(module) for module in _imported_modules(tree)):
        return "needs_modules"
    names = _library_names(tree)
    if names & _REFUSED_MODULES:
        return "needs_modules"
    if names & _REFUSED_FUNCTIONS:
        return "needs_system_calls"
    reads_input = names & _INPUT_NAMES or any(
        isinstance(node, ast.Name) and node.id in _INPUT_FUNCTIONS for node in ast.walk(tree)
    )
    return "reads_input" if reads_input else "runnable"


def program(text: str) -> str:
    """A program that runs a Python file as `__main__` and then its tests, and fails if one does.

    The last line of its output says how many tests ran, for `num_tests`.
    """
    tree = ast.parse(text)
    return _DRIVER.format(
        text=text, has_tests=_has_tests(tree), test_functions=_test_functions(tree)
    )


def num_tests(output: str) -> int:
    """The number of tests that ran and were not skipped, from the output of a `program` that
    passed. A file can forge it."""
    line = _NUM_TESTS.search(output)
    return int(line[1]) if line else 0


def _has_tests(tree: ast.Module) -> bool:
    """Whether a file may have tests; if not, the program needs no import of unittest."""
    return (
        bool(_test_functions(tree))
        or any(
            isinstance(node, ast.ClassDef)
            and any(ast.unparse(base).endswith("TestCase") for base in node.bases)
            for node in ast.walk(tree)
        )
        or any(
            ">>> " in (ast.get_docstring(node) or "")
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        )
    )


def _imported_modules(tree: ast.Module) -> Iterator[str]:
    """Dotted names of all modules that a file imports; "." for one of its own package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "." if node.level == 0 else "."


def _is_available(module: str) -> bool:
    return module.split(".")[0] in sys.stdlib_module_names


def _library_names(tree: ast.Module) -> set[str]:
    """Dotted names, to their third part, of the modules, functions and values that a file imports
    or uses, with the names that hold them: `import os as o; o.path.join` gives os, os.path and
    os.path.join."""
    bindings = list(_bindings(tree))
    qualified_names = dict(bindings)
    names = {*_imported_modules(tree), *(name for _, name in bindings)}
    for node in ast.walk(tree):
        attributes: list[str] = []
        while isinstance(node, ast.Attribute):
            attributes.append(node.attr)
            node = node.value
        if isinstance(node, ast.Name) and node.id in qualified_names:
            names.add(".".join([qualified_names[node.id], *attributes[: -_NAME_PARTS - 1 : -1]]))
    return {
        ".".join(name.split(".")[:count]) for name in names for count in range(1, _NAME_PARTS + 1)
    }


def _bindings(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The names that imports bind, and the dotted names of what they are bound to."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top_level = alias.name.split(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (top_level, top_level)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _test_functions(tree: ast.Module) -> tuple[str, ...]:
    return tuple(
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith("test")
        and len(node.args.posonlyargs) + len(node.args.args) == len(node.args.defaults)
        and None not in node.args.kw_defaults
    )
