"""What readers of the published tables meet: answers, limits, plain errors, and no waiting."""

import os
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from snow_resources.publishing import replace_file
from snow_resources.warehouse import WarehouseError, query

CHECKOUT = Path(__file__).resolve().parents[2]
SWAPS = int(os.environ.get("SNOW_SWAPS", "50"))

_READER = """
import sys, time
from pathlib import Path
from snow_resources.warehouse import query
path, stop = sys.argv[1], Path(sys.argv[2])
seen = set()
while not stop.exists() or len(seen) < 2:
    [(first, last, number)] = query(path, "select min(edition), max(edition), count(*) from t").rows
    assert first == last and number == 1000, (first, last, number)
    if not seen:
        print("reading", flush=True)
    seen.add(first)
print(len(seen))
"""


def write_edition(path: Path, edition: int) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"create table t as select {edition} as edition from range(1000)")


def in_place(folder: Path, edition: int = 0) -> Path:
    """A published file; the folder is the reader's SNOW_HOME."""
    fresh = folder / f"fresh-{edition}.duckdb"
    write_edition(fresh, edition)
    replace_file(fresh, folder / "warehouse.duckdb")
    return folder / "warehouse.duckdb"


def ask(folder: Path, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "snow_resources.sql", *arguments],
        env={"SNOW_HOME": str(folder), "PATH": ""},
        input=typed,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_reader_never_fails_while_a_publisher_swaps_the_file(tmp_path: Path) -> None:
    path, stop = in_place(tmp_path), tmp_path / "stop"
    reader = subprocess.Popen(
        [sys.executable, "-c", _READER, str(path), str(stop)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert reader.stdout is not None
    assert reader.stdout.readline() == "reading\n"
    for edition in range(1, SWAPS + 1):
        in_place(tmp_path, edition)
        time.sleep(0.01)
    stop.touch()
    told, errors = reader.communicate(timeout=60)
    assert reader.returncode == 0, errors
    assert int(told) >= 2, "the reader met one edition only: the test shows nothing"


def test_make_sql_takes_a_question_of_several_lines_with_quotes(tmp_path: Path) -> None:
    if not (CHECKOUT / ".venv" / "ready").exists():
        pytest.skip("`make` would build its own environment first: no .venv/ready")
    in_place(tmp_path, 7)
    question = "select max(edition) as \"an edition\"\n    from t where 'it''s' <> ''"
    done = subprocess.run(
        ["make", "-s", "sql", f"Q={question}"],
        cwd=CHECKOUT,
        env={**os.environ, "SNOW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    assert (told[0], told[-1]) == ("an edition", "7")


def test_who_reads_a_replaced_file_reads_on_in_it(tmp_path: Path) -> None:
    path = in_place(tmp_path, 1)
    with duckdb.connect(str(path), read_only=True) as reader:
        in_place(tmp_path, 2)
        assert reader.execute("select any_value(edition) from t").fetchall() == [(1,)]
    assert query(path, "select any_value(edition) from t").rows == [(2,)]


def test_a_database_that_was_not_closed_is_not_published(tmp_path: Path) -> None:
    fresh = tmp_path / "fresh.duckdb"
    write_edition(fresh, 1)
    Path(f"{fresh}.wal").touch()
    with pytest.raises(RuntimeError, match="was not closed"):
        replace_file(fresh, tmp_path / "warehouse.duckdb")


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("seelct 1", "syntax error"),
        ("select * from nothing", "Tables: t"),
        ("insert into t values (1)", "read-only"),
        ("select * from read_csv('/etc/passwd')", "disabled by configuration"),
        ("copy t to '/tmp/stolen.csv'", "disabled by configuration"),
        ("attach '/tmp/other.duckdb'", "disabled by configuration"),
        ("set enable_external_access = true", "locked|Cannot"),
        ("set memory_limit = '100GB'", "locked"),
    ],
)
def test_a_query_that_may_not_be_is_refused_plainly(tmp_path: Path, sql: str, says: str) -> None:
    with pytest.raises(WarehouseError, match=says):
        query(in_place(tmp_path), sql)


@pytest.mark.parametrize("sql", ["", "  \n", ";", ";;", "-- how many files?", "/* none */;"])
def test_a_text_without_a_statement_is_no_question(tmp_path: Path, sql: str) -> None:
    with pytest.raises(WarehouseError, match="no question"):
        query(in_place(tmp_path), sql)


def test_a_query_with_a_lone_surrogate_is_refused_plainly(tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match="no character"):
        query(in_place(tmp_path), "select '\ud800'")


def test_comments_and_semicolons_inside_a_query_do_not_matter(tmp_path: Path) -> None:
    assert query(in_place(tmp_path), "-- first\nselect ';' as a; -- last").rows == [(";",)]


def test_a_query_returns_at_most_the_rows_that_were_asked_for(tmp_path: Path) -> None:
    path = in_place(tmp_path)
    short = query(path, "select * from t", rows=10)
    assert (len(short.rows), short.is_truncated) == (10, True)
    whole = query(path, "select * from t", rows=1_000)
    assert (len(whole.rows), whole.is_truncated) == (1_000, False)


def test_a_file_that_is_not_published_yet_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match="not published yet: run `make demo`"):
        query(tmp_path / "warehouse.duckdb", "select 1")


def test_a_broken_file_says_what_to_do(tmp_path: Path) -> None:
    broken = tmp_path / "warehouse.duckdb"
    broken.write_bytes(b"no database" * 1_000)
    with pytest.raises(WarehouseError, match="materialize the tables again"):
        query(broken, "select 1")


def test_a_file_that_another_program_writes_to_says_so(tmp_path: Path) -> None:
    path = in_place(tmp_path)
    program = (
        f"import duckdb, time; connection = duckdb.connect({str(path)!r});"
        "print('open', flush=True); time.sleep(60)"
    )
    writer = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout is not None
        writer.stdout.readline()
        with pytest.raises(WarehouseError, match="open for writing"):
            query(path, "select 1")
    finally:
        writer.kill()
        writer.wait()


def test_the_command_prints_a_table_and_says_when_it_is_cut(tmp_path: Path) -> None:
    in_place(tmp_path)
    done = ask(tmp_path, "select range as n, '[red]x[/red]' as text from range(1000)")
    assert done.returncode == 0, done.stderr
    assert "The first 200 rows" in done.stdout
    assert "[red]x[/red]" in done.stdout, "corpus text was read as markup"


def test_the_command_keeps_control_characters_from_the_terminal(tmp_path: Path) -> None:
    in_place(tmp_path)
    done = ask(tmp_path, "select chr(27) || '[2Jgone' as text")
    assert "\x1b" not in done.stdout
    assert "gone" in done.stdout


def test_column_names_are_neither_markup_nor_control_characters(tmp_path: Path) -> None:
    in_place(tmp_path)
    done = ask(tmp_path, 'select 1 as "[red]x[/red]", 2 as "\x1b[2Jgone"')
    assert "[red]x[/red]" in done.stdout
    assert "\x1b" not in done.stdout
    assert "·[2Jgone" in done.stdout


@pytest.mark.parametrize("typed", ["", "select cast(chr(27) || '[2J' as integer);\n"])
def test_an_error_that_quotes_data_keeps_control_characters_too(tmp_path: Path, typed: str) -> None:
    in_place(tmp_path)
    arguments = [] if typed else ["select cast(chr(27) || '[2J' as integer)"]
    done = ask(tmp_path, *arguments, typed=typed)
    assert "\x1b" not in done.stdout + done.stderr
    assert "·[2J" in done.stdout + done.stderr


def test_the_command_fails_plainly(tmp_path: Path) -> None:
    done = ask(tmp_path, "select 1")
    assert done.returncode == 1
    assert "make demo" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_prompt_lists_the_tables_and_survives_a_wrong_query(tmp_path: Path) -> None:
    in_place(tmp_path)
    done = ask(tmp_path, typed="select nonsense;\nselect count(*) as found\nfrom t;\n")
    assert done.returncode == 0, done.stderr
    assert "what it holds" in done.stdout
    assert "nonsense" in done.stdout
    assert "1,000" in done.stdout


def test_the_prompt_survives_a_comment_and_a_semicolon(tmp_path: Path) -> None:
    in_place(tmp_path)
    typed = (CHECKOUT / "tests/cases/70-comment-as-question/questions.txt").read_text()
    done = ask(tmp_path, typed=typed + ";\n\n;\nselect 41 + 1 as sum;\n")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.count("no question") == 2
    assert "42" in done.stdout
