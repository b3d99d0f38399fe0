"""Prompts of the teacher: OSS-Instruct (arXiv 2312.02120) adapted to whole code files.

Arctic-SnowCoder generates files instead of questions with answers, and published no prompt; this
one is ours. The part that all prompts share is first, then the language, then the seed, so that the
engine's prefix cache covers the shared part.
"""

from snow_assets.languages import display_name

PROMPT_VERSION = "2"
"""Increment with every change of the texts below: it is part of the artifact's fingerprint."""

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

_TOKENS_PER_LINE = 10  # of code, about: a file of the length asked for then fits the answer
_END = "</fragment>"


def messages(language: str, snippet: str, *, max_new_tokens: int) -> Messages:
    """Chat messages of one prompt: the task, few-shot examples, and the quoted seed."""
    most_lines = max(10, max_new_tokens // _TOKENS_PER_LINE)
    task = (
        "You write short, complete source files. Each solves one realistic programming problem, "
        f"is self-contained and correct, and has at most {most_lines} lines. "
        "You answer with the file alone, in one fenced code block."
    )
    chat = [{"role": "system", "content": task}]
    for name, seed, text in EXAMPLES:
        chat.append({"role": "user", "content": _request(name, seed)})
        chat.append({"role": "assistant", "content": f"```{name}\n{text}```"})
    return [*chat, {"role": "user", "content": _request(language, snippet)}]


def _request(language: str, snippet: str) -> str:
    name = display_name(language)
    # Escape the end tag, so that corpus text cannot inject instructions.
    quoted = snippet.replace(_END, "< /fragment>")
    return (
        f"Language: {name}\n"
        f"Write a short, self-contained {name} file. Let this fragment inspire it, without "
        f"copying it:\n<fragment>\n{quoted}\n{_END}"
    )
