import time

import pyarrow as pa
import pytest

from snow_assets.corpus.extensions import candidates
from snow_assets.curation.language import languages_of
from snow_assets.languages import RECIPE_LANGUAGES


def language_of(path: str, text: str) -> str | None:
    return languages_of([path], pa.array([text]))[0]


@pytest.mark.parametrize(
    ("path", "text", "language"),
    [
        ("a/b.py", "x = 1", "python"),
        ("lib.h", "int add(int a, int b);\n", "c"),
        ("lib.h", "namespace math {\nint add(int a, int b);\n}\n", "cpp"),
        ("lib.h", "template <typename T> T id(T x);\n", "cpp"),
        ("lib.h", "std::string name();\n", "cpp"),
        ("lib.h", "struct point { int x; };\n/* a class of things */\n", "c"),
        ("lib.cc", "int main() {}", "cpp"),
        ("bin/run", "#!/usr/bin/env python3.11\nprint(1)\n", "python"),
        ("bin/run", "#!/bin/bash -e\necho 1\n", "shell"),
        ("bin/run", "#!/usr/bin/env -S node --flag\n", "javascript"),
        ("Makefile", "all:\n", "make"),
        ("Gemfile", "gem 'x'\n", "ruby"),
        ("app_de.ts", '<?xml version="1.0"?>\n<TS>', "xml"),
        ("app.ts", "const x: number = 1;", "typescript"),
        ("README", "words", "text"),
        ("a.UNKNOWN", "words", None),
        ("LICENCE", "words", None),
        (".py", "words", None),
        ("lib.h", "/* A table:\nclass of 3\ntemplate <x>\n*/\nint add(int a, int b);\n", "c"),
        ("lib.h", "// std::string is C++\nint a;\n", "c"),
        ("lib.h", 'const char *names = "std::string";\n', "c"),
        ("lib.h", "/* prose */\rclass Point {\r};\r", "cpp"),
        ("lib.h", '#ifdef __cplusplus\nextern "C" {\n#endif\nint a;\n', "c"),
        ("lib.h", "/* caf\xe9:\nclass of */\nint a;\n", "c"),
        ("lib.h", "/* class of */ int a; /* not closed\nclass X {", "c"),
        ("View.h", "#import <UIKit/UIKit.h>\n@interface View : UIView\n@end\n", "objective-c"),
        ("View.h", "/**\n@interface Docs\n*/\nint a;\n", "c"),
        ("View.m", '#import "View.h"\n@implementation View\n@end\n', "objective-c"),
        ("main.m", "#include <stdio.h>\nint main() { return 0; }\n", "objective-c"),
        ("f.m", "% @interface\nfunction y = f(x)\n  y = x;\nend\n", "matlab"),
        ("f.m", ":- module hello.\n:- interface.\n", "mercury"),
        ("f.m", "(* ::Package:: *)\nf[x_] := x\n", "mathematica"),
        ("tiles.tsx", '<?xml version="1.0"?>\n<tileset version="1.10"/>', "xml"),
        ("tiles.tsx", '<tileset version="1.10"/>', "xml"),
        ("App.tsx", "export const App = () => <TS />;\n", "typescript"),
        ("app_de.ts", '<TS version="2.1" language="de_DE">\n</TS>\n', "xml"),
        ("app_de.ts", "<!-- made by lupdate -->\n<!DOCTYPE TS>\n<TS></TS>\n", "xml"),
        ("app.ts", "const f = <TS>(value: TS): TS => value;\n", "typescript"),
        ("lib.rs", "use std::io;\n\nfn main() {}\n", "rust"),
        ("lib.rs", "//! #pragma version(1)\n/*\n#include\n*/\npub fn f() {}\n", "rust"),
        ("blur.rs", "#pragma version(1)\n#pragma rs java_package_name(a)\n", "renderscript"),
        ("data.rs", '<?xml version="1.0"?>\n<a/>\n', "xml"),
        ("build.sc", "import mill._\nobject foo extends ScalaModule\n", "scala"),
        ("synth.sc", "Synth1 : Object {\n  *new { ^super.new }\n}\n", "supercollider"),
        ("Program.cs", "// !Object methodsFor: 'x'\nusing System;\n", "csharp"),
        ("Object.cs", "!Object methodsFor: 'accessing'!\nname\n", "smalltalk"),
        ("a.pl", "use strict;\nmy $x = 1;\n", "perl"),
        ("a.pl", 'print "hello :-)\\n";\n', "perl"),
        ("a.pl", "#!/usr/bin/perl\nprint 1;\n", "perl"),
        ("a.pl", ":- use_module(library(lists)).\n", "prolog"),
        ("a.pl", "parent(tom, bob).\nold(X) :- parent(X, _).\n", "prolog"),
        ("a.pl", "use v6;\nsay 1;\n", "raku"),
        ("add.v", "module add(input a, output b);\nendmodule\n", "verilog"),
        ("add.v", "Require Import List.\nTheorem t : True.\nProof. auto. Qed.\n", "coq"),
        ("add.v", "module main\n\nfn main() {\n\tprintln('x')\n}\n", "vlang"),
        ("a.php", "<?php\n// <?hh\necho 1;\n", "php"),
        ("a.php", "<?hh\nfunction f(): int { return 1; }\n", "hack"),
        ("lib.hh", "class Point {};\n", "cpp"),
    ],
)
def test_a_language_is_told_by_name_shebang_or_content(
    path: str, text: str, language: str | None
) -> None:
    assert language_of(path, text) == language


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.ts", "<!-- -->" * 100_000),
        ("a.h", "class x" + '"' * 300_000),
        ("a.h", "class x /*" * 100_000),
        ("a.h", "std::" + "'\\" * 200_000),
        ("a.cs", "!a methodsFor: " + "!" * 300_000 + " a" * 300_000),
        ("a.pl", "a(" * 300_000),
        ("a.sc", "A:" * 300_000),
        ("a.v", "module " + " " * 300_000 + "x"),
        ("a.m", " " * 300_000 + "\n" * 300_000),
    ],
)
def test_a_text_made_to_be_slow_takes_time_in_proportion(path: str, text: str) -> None:
    start = time.process_time()
    assert language_of(path, text)
    assert time.process_time() - start < 5


def test_every_language_of_recipes_is_taken_by_ingest_and_named_by_curation() -> None:
    assert set(EXAMPLES) == set(RECIPE_LANGUAGES)
    texts = {"perl": "use strict;\n", "matlab": "function y = f(x)\nend\n"}
    for name, paths in EXAMPLES.items():
        assert all(name in candidates(path, RECIPE_LANGUAGES) for path in paths), name
        assert language_of(paths[0], texts.get(name, "x")) == name


EXAMPLES = {
    "assembly": ["a.s"],
    "c": ["a.c", "a.h"],
    "cpp": ["a.cc", "a.h"],
    "csharp": ["a.cs"],
    "dart": ["a.dart"],
    "fortran": ["a.f90"],
    "go": ["a.go"],
    "haskell": ["a.hs"],
    "java": ["A.java"],
    "javascript": ["a.js"],
    "julia": ["a.jl"],
    "jupyter": ["a.ipynb"],
    "kotlin": ["a.kt"],
    "lua": ["a.lua"],
    "matlab": ["a.m"],
    "perl": ["a.pl"],
    "php": ["a.php"],
    "powershell": ["a.ps1"],
    "python": ["a.py"],
    "r": ["a.r"],
    "ruby": ["a.rb"],
    "rust": ["a.rs"],
    "scala": ["a.scala", "a.sc"],
    "shell": ["a.sh"],
    "sql": ["a.sql"],
    "swift": ["a.swift"],
    "typescript": ["a.ts", "a.tsx"],
}
