"""How programs of other languages than Python are compiled and run in the sandbox."""

import secrets
import shutil
from dataclasses import dataclass

from snow_assets.evaluation.limits import LIMITS
from snow_assets.runtime import sandbox

_PATH = "/usr/local/bin:/usr/bin:/bin"  # what the sandbox may execute
_FIRST, _SECOND = "FIRST", "SECOND"  # the halves of the marker


@dataclass(frozen=True, kw_only=True)
class Toolchain:
    """Commands of a language, and how its tests announce their end."""

    file_name: str
    commands: tuple[tuple[str, ...], ...]
    end: str  # a statement that prints _FIRST and _SECOND, adjacent only in its output
    is_end_in_main: bool = False  # before the last brace of the tests, which closes main
    check: str  # a program without `end`: it imports what published tests import

    @property
    def missing_commands(self) -> list[str]:
        """Programs of the commands that are not installed where the sandbox may execute them."""
        names = [command[0] for command in self.commands if not command[0].startswith("./")]
        return [name for name in names if shutil.which(name, path=_PATH) is None]

    def execution(self, program: str, seconds: float) -> sandbox.Execution:
        """Compile and run a program that ends with its tests; `missing_commands` must be empty.

        A completion can turn what follows it into text that is printed (PHP's `?>`, a shell's
        here-document): the marker of the end is not in the source, only its halves are.
        """
        first, second = secrets.token_hex(16), secrets.token_hex(16)
        end = self.end.replace(_FIRST, first).replace(_SECOND, second)
        if self.is_end_in_main:
            body, brace, tail = program.rpartition("}")
            source = f"{body}{end}\n{brace}{tail}"
        else:
            source = f"{program}\n{end}\n"
        return sandbox.Execution(
            program=source,
            limits=LIMITS["program"](seconds=seconds),
            commands=sandbox.Commands(
                file_name=self.file_name,
                commands=tuple(
                    (shutil.which(command[0], path=_PATH) or command[0], *command[1:])
                    for command in self.commands
                ),
                marker=f"{first}{second}",
            ),
        )


TOOLCHAINS: dict[str, Toolchain] = {
    "cpp": Toolchain(
        file_name="program.cpp",
        commands=(("g++", "-std=c++17", "-o", "program", "program.cpp"), ("./program",)),
        end=f'std::puts("{_FIRST}" "{_SECOND}");',
        is_end_in_main=True,
        check="#include<assert.h>\n#include<bits/stdc++.h>\nint main() {\n    assert(true);\n}\n",
    ),
    "javascript": Toolchain(
        file_name="program.js",
        commands=(("node", "--max-old-space-size=1024", "program.js"),),
        end=f'console.log("{_FIRST}" + "{_SECOND}");',
        check="const assert = require('node:assert');\nassert.deepEqual([1], [1]);",
    ),
    "perl": Toolchain(
        file_name="program.pl",
        commands=(("perl", "program.pl"),),
        end=f'print "\\n{_FIRST}" . "{_SECOND}\\n";',
        check="use Test::Deep;\neq_deeply([1], [1]) or exit 1;",
    ),
    "php": Toolchain(
        file_name="program.php",
        commands=(("php", "program.php"),),
        end=f'echo "\\n{_FIRST}" . "{_SECOND}\\n";',
        check="<?php\nif (array(1) !== array(1)) { throw new Exception(); }",
    ),
    "ruby": Toolchain(
        file_name="program.rb",
        commands=(("ruby", "program.rb"),),
        end=f'Test::Unit.at_exit {{ puts "{_FIRST}" + "{_SECOND}" }}',
        check="require 'test/unit'\nclass TestHumanEval < Test::Unit::TestCase\n"
        "  def test_equal\n    assert_equal(1, 1)\n  end\nend\n",
    ),
    "shell": Toolchain(
        file_name="program.sh",
        commands=(("bash", "program.sh"),),
        end=f"echo {_FIRST}''{_SECOND}",
        check='set -e\n[[ $(echo 2 1 | tr " " "\\n" | sort | head -1) = "1" ]]',
    ),
}
"""By language. Not here: Go, Java, Lua, Rust and TypeScript (docs/benchmarks.md)."""
