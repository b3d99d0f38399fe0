"""Whether the sandbox can run a generated file, and the program that runs it with its tests.

The sandbox has Python's standard library, no network, no other processes, no input and no
arguments (`runtime/sandbox.py`). A file that needs more says nothing about itself by failing there.
"""

import ast
import sys
from collections.abc import Iterator
from typing import Literal

Runnability = Literal["runnable", "not_python", "needs_modules", "reads_input"]

_PYTHON = ("python", "jupyter")
_REFUSED_MODULES = frozenset(
    {
        "antigravity",
        "asyncio.subprocess",
        "curses",
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
_INPUT_MODULES = frozenset({"argparse", "fileinput", "getopt", "getpass", "optparse"})
_INPUT_NAMES = frozenset({"input", "raw_input"})
_INPUT_ATTRIBUTES = frozenset({("sys", "stdin"), ("sys", "argv")})

# The file's text is compiled apart, so that `from __future__` may begin it. Tests are functions
# `test_*` without required parameters, subclasses of `unittest.TestCase`, and doctests.
_DRIVER = """\
def _run_file():
    import sys
    main = sys.modules["__main__"]
    del main._run_file
    main.__file__ = "program.py"
    code = compile({text!r}, "program.py", "exec", dont_inherit=True)
    try:
        exec(code, main.__dict__)
    except SystemExit as end:
        if end.code not in (None, 0):
            raise
    if {has_tests!r}:
        import doctest, inspect, unittest
        suite, loader = unittest.TestSuite(), unittest.TestLoader()
        for name, value in list(vars(main).items()):
            if inspect.isclass(value) and issubclass(value, unittest.TestCase):
                suite.addTests(loader.loadTestsFromTestCase(value))
            elif name in {test_functions!r} and inspect.isfunction(value):
                suite.addTest(unittest.FunctionTestCase(value))
        suite.addTests(doctest.DocTestSuite(main))
        result = unittest.TextTestRunner(stream=sys.stdout, verbosity=0).run(suite)
        failed = result.failures + result.errors
        if failed:
            test, trace = failed[0]
            reason = trace.strip().splitlines()[-1]
            count = f"{{len(failed)}} of {{result.testsRun}} tests"
            raise AssertionError(f"{{count}}: {{test}}: {{reason}}")

_run_file()
"""


def runnability(text: str, language: str) -> Runnability:
    """Whether the sandbox can run a file that parses, or what it lacks for that."""
    if language not in _PYTHON:
        return "not_python"
    tree = ast.parse(text)
    if not all(_is_available(module) for module in _imported_modules(tree)):
        return "needs_modules"
    return "reads_input" if any(map(_reads_input, ast.walk(tree))) else "runnable"


def has_tests(text: str) -> bool:
    """Whether a Python file has tests that the program runs."""
    tree = ast.parse(text)
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


def program(text: str) -> str:
    """A program that runs a Python file as `__main__` and then its tests, and fails if one does."""
    return _DRIVER.format(
        text=text, has_tests=has_tests(text), test_functions=_test_functions(ast.parse(text))
    )


def _imported_modules(tree: ast.Module) -> Iterator[str]:
    """Dotted names of all modules that a file imports; "." for one of its own package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "." if node.level == 0 else "."
            yield from (f"{node.module}.{alias.name}" for alias in node.names if not node.level)


def _is_available(module: str) -> bool:
    parts = module.split(".")
    names = {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
    return parts[0] in sys.stdlib_module_names and not names & _REFUSED_MODULES


def _reads_input(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        return any(alias.name in _INPUT_MODULES for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        names = {(node.module, alias.name) for alias in node.names}
        return node.module in _INPUT_MODULES or bool(names & _INPUT_ATTRIBUTES)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return (node.value.id, node.attr) in _INPUT_ATTRIBUTES
    return isinstance(node, ast.Name) and node.id in _INPUT_NAMES


def _test_functions(tree: ast.Module) -> tuple[str, ...]:
    return tuple(
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith("test")
        and len(node.args.posonlyargs) + len(node.args.args) == len(node.args.defaults)
        and None not in node.args.kw_defaults
    )
