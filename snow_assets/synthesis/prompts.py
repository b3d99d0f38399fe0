"""Prompts of the teacher: OSS-Instruct adapted to whole code files, and rewriting.

Arctic-SnowCoder generates files instead of questions with answers, and published no prompt; that
of OSS-Instruct (arXiv 2312.02120) is ours. Rewriting asks in one prompt for what SwallowCode (arXiv
2505.02881) asks in two, style-guided rewriting (names, types, documentation, small functions,
handled errors) and self-contained optimization rewriting (no dependencies, no missing context,
efficient algorithms); the wording is ours. The part that all prompts of a mode share is
first, then the language, then the seed, so that the engine's prefix cache covers the shared part.
"""

from collections.abc import Mapping, Sequence

from snow_assets.languages import display_name
from snow_assets.recipe import SynthesisMode

PROMPT_VERSIONS: Mapping[SynthesisMode, str] = {"oss_instruct": "2", "rewrite": "1"}
"""Increment with every change of a mode's texts: they are part of the artifact's fingerprint."""

Messages = list[dict[str, str]]
"""A chat: `role` and `content` each."""

_PYTHON = '''\
"""Count how often each word occurs in a text."""


def word_counts(text: str) -> dict[str, int]:
    """Return how often each word occurs, ignoring case."""
    counts: dict[str, int] = {}
    for word in text.lower().split():
        counts[word] = counts.get(word, 0) + 1
    return counts


if __name__ == "__main__":
    for word, count in sorted(word_counts("the cat and the dog").items()):
        print(word, count)
'''
_C = """\
#include <stdio.h>

/* Return the sum of the digits of a number. */
static int digit_sum(unsigned number)
{
    int sum = 0;
    while (number > 0) {
        sum += number % 10;
        number /= 10;
    }
    return sum;
}

int main(void)
{
    printf("%d\\n", digit_sum(2024));
    return 0;
}
"""
EXAMPLES = (
    ("python", "    for key in sorted(table):\n        total += table[key]", _PYTHON),
    ("c", "while (left < right) {\n    swap(text, left++, right--);", _C),
)
"""Few-shot examples: language, seed and file. Of 62 seeds, SmolLM2-135M's parsing files were 22
with the first example alone, and 26 with both; without any, 6 of 12 Python files parsed, with the
first, 11. A small teacher needs them; a penalty on repetition spoiled more files than it saved."""

_ORIGINAL_PYTHON = """\
import sys
from .util import log

def f(t):
    d = {}
    for x in t.lower().split():
        if x in d.keys(): d[x] = d[x] + 1
        else: d[x] = 1
    log(d)
    return d
"""
_ORIGINAL_C = """\
#include "digits.h"
int ds(unsigned n)
{
int s; s=0;
while(n>0){s=s+n%10;n=n/10;}
return s;
}
"""
_REWRITTEN = (("python", _ORIGINAL_PYTHON, _PYTHON), ("c", _ORIGINAL_C, _C))
"""Few-shot examples of rewriting: language, original, and the same file rewritten."""

_TOKENS_PER_LINE = 10  # of code, about: a file of the length asked for then fits
_TASKS: Mapping[SynthesisMode, str] = {
    "oss_instruct": (
        "You write short, complete source files. Each solves one realistic programming problem, "
        "is self-contained and correct, and has at most {most_lines} lines. "
        "You answer with the file alone, in one fenced code block."
    ),
    "rewrite": (
        "You rewrite source files. The result does what the original is for, is correct and "
        "efficient, and has at most {most_lines} lines. It is self-contained: what it needs of the "
        "project and of other packages is written in it with the standard library, or left out. It "
        "has telling names, types where the language has them, small functions with a short "
        "documentation comment, handled errors, and an example of its use or a test where that "
        "fits. You answer with the whole file alone, in one fenced code block."
    ),
}


def prompt_version(modes: Sequence[SynthesisMode]) -> str:
    """The version of the prompts that requests of these modes have."""
    if tuple(modes) == ("oss_instruct",):
        return PROMPT_VERSIONS["oss_instruct"]
    return ", ".join(f"{mode} {PROMPT_VERSIONS[mode]}" for mode in modes)


def messages(
    language: str, snippet: str, *, max_new_tokens: int, mode: SynthesisMode = "oss_instruct"
) -> Messages:
    """Chat messages of one prompt: the task, few-shot examples, and the quoted seed."""
    most_lines = max(10, max_new_tokens // _TOKENS_PER_LINE)
    chat = [{"role": "system", "content": _TASKS[mode].format(most_lines=most_lines)}]
    for name, seed, text in EXAMPLES if mode == "oss_instruct" else _REWRITTEN:
        chat.append({"role": "user", "content": _request(mode, name, seed)})
        chat.append({"role": "assistant", "content": f"```{name}\n{text}```"})
    return [*chat, {"role": "user", "content": _request(mode, language, snippet)}]


def _request(mode: SynthesisMode, language: str, snippet: str) -> str:
    name = display_name(language)
    if mode == "rewrite":
        return f"Language: {name}\nRewrite this {name} file:\n{_quoted(snippet, 'file')}"
    return (
        f"Language: {name}\n"
        f"Write a short, self-contained {name} file. Let this fragment inspire it, without "
        f"copying it:\n{_quoted(snippet, 'fragment')}"
    )


def _quoted(snippet: str, tag: str) -> str:
    """Corpus text between tags, with its own end tags escaped: it cannot inject instructions."""
    return f"<{tag}>\n{snippet.replace(f'</{tag}>', f'< /{tag}>')}\n</{tag}>"
