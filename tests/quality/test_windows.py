import os
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from snow_assets.quality.windows import windows

SIZE = 10
EXAMPLES = int(os.environ.get("SNOW_FUZZ_EXAMPLES", "300"))
RUNS = st.lists(
    st.one_of(
        st.text(max_size=40),
        st.tuples(st.sampled_from("ab \n\té漢😀"), st.integers(1, 700)).map(
            lambda run: run[0] * run[1]
        ),
    ),
    max_size=6,
).map("".join)


def letters(text: str) -> list[int]:
    return [ord(c) for c in text if not c.isspace()]


def each(texts: Sequence[str]) -> list[list[int]]:
    return list(map(letters, texts))


def read(text: str) -> list[str]:
    [found] = windows([text], each, size=SIZE)
    return ["".join(map(chr, window)) for window in found]


def test_a_short_file_is_read_once() -> None:
    assert read("abcdefghij") == ["abcdefghij"]


def test_an_empty_file_is_read_once_and_is_nothing() -> None:
    assert read("") == [""]


def test_a_file_of_up_to_two_windows_is_read_from_both_ends() -> None:
    assert read("abcdefghijk") == ["abcdefghij", "bcdefghijk"]


def test_a_longer_file_is_read_at_top_middle_and_bottom() -> None:
    assert read("a" * 10 + "b" * 10 + "c" * 10) == ["a" * 10, "b" * 10, "c" * 10]


def test_of_a_giant_file_only_three_sections_are_tokenized() -> None:
    asked: list[int] = []

    def counted(texts: Sequence[str]) -> list[list[int]]:
        asked.extend(map(len, texts))
        return each(texts)

    [found] = windows(["a" * 1_000 + "b" * 1_000_000 + "c" * 1_000], counted, size=SIZE)
    assert ["".join(map(chr, window)) for window in found] == ["a" * 10, "b" * 10, "c" * 10]
    assert sum(asked) < 1_000


def test_a_giant_file_with_a_blank_section_has_a_shorter_window() -> None:
    assert read("a" * 10_000 + " " * 50_000 + "c" * 10_000) == ["a" * 10, "", "c" * 10]


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(RUNS, max_size=4))
def test_texts_read_together_are_read_as_each_alone(texts: list[str]) -> None:
    alone = [found for text in texts for found in windows([text], each, size=SIZE)]
    assert list(windows(texts, each, size=SIZE)) == alone
    assert len(alone) == len(texts)


@settings(max_examples=EXAMPLES, deadline=None)
@given(RUNS)
def test_any_text_is_read_in_one_to_three_windows_of_its_own_tokens(text: str) -> None:
    whole = letters(text)
    [found] = windows([text], each, size=SIZE)
    assert 1 <= len(found) <= 3
    assert all(len(window) <= SIZE for window in found)
    for window in found:
        starts = range(len(whole) - len(window) + 1)
        assert any(whole[start : start + len(window)] == window for start in starts)
    if len(whole) <= SIZE and len(text) <= 3 * SIZE * 16:
        assert found == [whole]
    if len(text) == len(whole) > 2 * SIZE:
        assert [found[0], found[-1]] == [whole[:SIZE], whole[-SIZE:]]
        assert {len(window) for window in found} == {SIZE}
