"""Programming languages: their facts, in one table.

As in github-linguist's languages.yml: the languages that recipes train on, and those that often
occur in the same repositories, so that a README is `language_not_in_recipe` rather than
`unknown_language`. Ambiguous extensions are resolved by the text, in `curation.language`.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class LanguageSpec:
    """A language; several values of a field are separated by blanks, in lower case."""

    extensions: str
    """Of file names. One of several languages is listed with each; the likelier language first."""
    in_recipes: bool = False
    """A recipe may train on it: its texts are distinguished from those of similar languages."""
    file_names: str = ""
    interpreters: str = ""
    """In the first line of a script."""
    block_labels: str = ""
    """Of fenced code blocks, beyond the names of its lexer: dialects and file endings."""
    lexer: str = ""
    """Pygments' name, where it is another."""
    grammars: str = ""
    """Functions of its tree-sitter packages, `module:function`: a text that none of them can parse
    has a syntax error. None where a preprocessor may complete a file, or where no grammar was
    compared with real files."""
    display_name: str = ""
    """Where the capitalized name is not what people write."""


LANGUAGES: Mapping[str, LanguageSpec] = {
    "c": LanguageSpec("c h", in_recipes=True, block_labels="c11 c99 h"),
    "cpp": LanguageSpec(
        "cpp cc cxx c++ hpp hh hxx h++ ipp tpp inl cu cuh h",
        in_recipes=True,
        block_labels="c++11 c++14 c++17 c++20 cc cxx h hh hpp",
        display_name="C++",
    ),
    "csharp": LanguageSpec("cs csx", in_recipes=True, block_labels="cs dotnet", display_name="C#"),
    "dart": LanguageSpec("dart", in_recipes=True, interpreters="dart"),
    "go": LanguageSpec("go", in_recipes=True, grammars="tree_sitter_go:language"),
    "java": LanguageSpec("java", in_recipes=True, grammars="tree_sitter_java:language"),
    "javascript": LanguageSpec(
        "js mjs cjs jsx",
        in_recipes=True,
        interpreters="node nodejs",
        block_labels="cjs ecmascript es6 jsx mjs node nodejs",
        grammars="tree_sitter_javascript:language",
        display_name="JavaScript",
    ),
    "jupyter": LanguageSpec(
        "ipynb", in_recipes=True, block_labels="ipython ipython3 jupyter", lexer="python"
    ),
    "kotlin": LanguageSpec("kt kts", in_recipes=True, interpreters="kotlin", block_labels="kt kts"),
    "php": LanguageSpec(
        "php phtml php3 php4 php5",
        in_recipes=True,
        interpreters="php",
        grammars="tree_sitter_php:language_php",
        display_name="PHP",
    ),
    "python": LanguageSpec(
        "py pyi pyw",
        in_recipes=True,
        file_names="sconstruct",
        interpreters="python",
        block_labels="pyi python3",
    ),
    "ruby": LanguageSpec(
        "rb rake gemspec ru",
        in_recipes=True,
        file_names="gemfile podfile rakefile vagrantfile",
        interpreters="ruby",
        grammars="tree_sitter_ruby:language",
    ),
    "rust": LanguageSpec(
        "rs",
        in_recipes=True,
        interpreters="rust-script",
        grammars="tree_sitter_rust:language",
    ),
    "scala": LanguageSpec("scala sc sbt", in_recipes=True, interpreters="scala"),
    "shell": LanguageSpec(
        "sh bash zsh ksh",
        in_recipes=True,
        file_names=".bash_profile .bashrc .profile pkgbuild",
        interpreters="bash dash ksh sh zsh",
        block_labels="ksh sh shell zsh",
        lexer="bash",
    ),
    "sql": LanguageSpec(
        "sql ddl dml",
        in_recipes=True,
        block_labels="ansisql mysql pgsql plpgsql postgres postgresql sqlite sqlite3 tsql",
        display_name="SQL",
    ),
    "swift": LanguageSpec("swift", in_recipes=True, interpreters="swift"),
    "typescript": LanguageSpec(
        "ts tsx mts cts",
        in_recipes=True,
        interpreters="deno ts-node",
        block_labels="cts mts tsx",
        grammars="tree_sitter_typescript:language_typescript tree_sitter_typescript:language_tsx",
        display_name="TypeScript",
    ),
    "assembly": LanguageSpec("s asm", in_recipes=True),
    "batch": LanguageSpec("bat cmd"),
    "cmake": LanguageSpec("cmake", file_names="cmakelists.txt"),
    "coq": LanguageSpec("v"),
    "css": LanguageSpec("css scss sass less"),
    "csv": LanguageSpec("csv tsv"),
    "cython": LanguageSpec("pyx pxd pxi"),
    "fortran": LanguageSpec("f f90 f95 for", in_recipes=True),
    "graphviz": LanguageSpec("dot gv"),
    "hack": LanguageSpec("hack hh php"),
    "haskell": LanguageSpec("hs", in_recipes=True),
    "html": LanguageSpec("html htm xhtml"),
    "ini": LanguageSpec("ini cfg conf toml properties"),
    "jinja": LanguageSpec("j2 jinja jinja2"),
    "json": LanguageSpec("json jsonl geojson webmanifest"),
    "julia": LanguageSpec("jl", in_recipes=True),
    "lua": LanguageSpec("lua", in_recipes=True),
    "markdown": LanguageSpec("md markdown mdx"),
    "matlab": LanguageSpec("m", in_recipes=True),
    "objective-c": LanguageSpec("m h"),
    "objective-cpp": LanguageSpec("mm"),
    "mercury": LanguageSpec("m"),
    "mathematica": LanguageSpec("m wl"),
    "owl": LanguageSpec("owl"),
    "perl": LanguageSpec("pl pm", in_recipes=True, interpreters="perl"),
    "powershell": LanguageSpec("ps1 psm1", in_recipes=True),
    "prolog": LanguageSpec("pl", interpreters="swipl"),
    "protobuf": LanguageSpec("proto"),
    "r": LanguageSpec("r", in_recipes=True),
    "raku": LanguageSpec("raku rakumod pl pm", interpreters="raku"),
    "renderscript": LanguageSpec("rs"),
    "roff": LanguageSpec("roff man 1 2 3 5 8"),
    "rst": LanguageSpec("rst"),
    "smalltalk": LanguageSpec("cs"),
    "smt": LanguageSpec("smt smt2"),
    "supercollider": LanguageSpec("scd sc"),
    "tex": LanguageSpec("tex sty cls bib"),
    "text": LanguageSpec("txt text log", file_names="license readme"),
    "vlang": LanguageSpec("v"),
    "verilog": LanguageSpec("vh v"),
    "vue": LanguageSpec("vue"),
    "xml": LanguageSpec("xml xsd xsl xslt svg ts tsx rs"),
    "yaml": LanguageSpec("yaml yml"),
    "dockerfile": LanguageSpec("", file_names="dockerfile"),
    "groovy": LanguageSpec("", file_names="jenkinsfile"),
    "make": LanguageSpec("", file_names="makefile"),
}

RECIPE_LANGUAGES = tuple(sorted(name for name, spec in LANGUAGES.items() if spec.in_recipes))


def language_spec(language: str) -> LanguageSpec:
    """The language's entry; an empty one for a language that is not in the table."""
    return LANGUAGES.get(language, LanguageSpec(""))


def display_name(language: str) -> str:
    """`javascript` -> `JavaScript`."""
    return language_spec(language).display_name or language.capitalize()
