"""The report: charts, text and error messages."""

from __future__ import annotations

import json
import re
import socket
import tomllib
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, cached_property
from html import unescape
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import duckdb
import psycopg
import pytest
import vl_convert
from click.testing import CliRunner
from packaging.requirements import Requirement
from typing_extensions import override

from tests.conftest import ROOT
from tests.postgres_server import free_port
from tests.queries.warehouse import (
    DELETED,
    DUCKDB,
    MONDAY,
    POSTGRES,
    QUERIES,
    A,
    B,
    C,
    D,
    Warehouse,
    call,
    monday_call,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from click.testing import Result
    from packaging.specifiers import SpecifierSet

    from tests.queries.warehouse import Call, Stay

pytestmark = pytest.mark.slow

SCHEMA = "pairing"
VOID_ELEMENTS = {"meta", "br", "hr", "img", "input", "link", "wbr"}

# URLs that the JavaScript contains but never fetches: XML namespaces, schemas that identify types
# of charts, a link in a warning, and the editor behind a menu that the page disables.
UNFETCHED_URLS = {
    "http://www.w3.org/1999/xlink",
    "http://www.w3.org/2000/svg",
    "http://www.w3.org/2000/xmlns/",
    "https://github.com/vega/vega-lite/issues/2415",
    "https://vega.github.io/editor/",
    "https://vega.github.io/schema/vega/v6.json",
}
CHART_SCHEMA = re.compile(r"https://vega\.github\.io/schema/vega-lite/v[\d.]+\.json")

KNOWN_CALLS = (
    monday_call(60, (A, 0, 60), (B, 15, 60)),
    call("2026-03-04 09:00", 30, (A, 0, 30), (B, 0, 30), (C, 10, 30)),
    call("2026-03-05 09:00", 30, (D, 0, 30)),
    # After a week without calls comes a week that isn't over yet.
    call("2026-03-17 09:00", 90, (C, 0, 90), (A, 0, None), (D, 30, 60), (DELETED, 0, 90)),
)


class Page(HTMLParser):
    """A page, parsed as a browser would. Mismatched tags fail the test."""

    def __init__(self, html: str) -> None:
        """Parse a page."""
        super().__init__()
        self.html = html
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.contents: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        if tag not in VOID_ELEMENTS:
            self._open.append(tag)

    @override
    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    @override
    def handle_data(self, data: str) -> None:
        self.contents.setdefault(self._open[-1] if self._open else "", []).append(data)
        if not {"script", "style"} & set(self._open):
            self.text += f" {data}"

    @property
    def words(self) -> str:
        """The visible text, without the charts."""
        return " ".join(self.text.split())

    @cached_property
    def charts(self) -> dict[str, dict[str, Any]]:
        """The charts, by the id of their element."""
        for script in self.contents.get("script", []):
            if script.startswith("{"):
                charts: dict[str, dict[str, Any]] = json.loads(script)
                return charts
        return {}

    @property
    def people(self) -> list[str]:
        """The names in the matrix, in order."""
        return [unescape(name) for name in re.findall(r'<tr><th scope="row">(.*?)</th>', self.html)]

    @property
    def pairs(self) -> list[str]:
        """The tooltips in the matrix."""
        return [value or "" for name, value in self.attributes if name == "title"]

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Return the data of a chart."""
        chart = self.charts[name]
        rows: list[dict[str, Any]] = chart["datasets"][chart["data"]["name"]]
        return rows


@dataclass
class Database:
    """A database to generate a report from."""

    address: str
    schema: str
    folder: Path
    connect: Callable[[], Any]
    dialect: dict[str, str]

    @property
    def output(self) -> Path:
        """The path of the page."""
        return self.folder / "report.html"

    def load(self, *calls: Call) -> dict[str, list[tuple[Any, ...]]]:
        """Load calls into the empty database.

        Returns:
            The rows that each query returns.
        """
        with closing(self.connect()) as connection:
            warehouse = Warehouse(connection, schema=self.schema, **self.dialect)
            warehouse.load(*calls)
            results = {
                path.stem: warehouse.run_query(path.stem)
                for path in QUERIES.glob("*.sql")
                if path.stem not in {"delete_unrefreshed", "views", "views_of_files"}
            }
            connection.commit()
        return results

    def generate(self, *options: str | Path) -> Result:
        """Run the report command on this database."""
        return generate(self.address, "--schema", self.schema, "--output", self.output, *options)

    def page(self, *options: str) -> Page:
        """Generate the page and parse it."""
        run = self.generate(*options)
        assert (run.exit_code, run.stderr) == (0, "")
        return Page(self.output.read_text("utf-8"))


def generate(*arguments: str | Path) -> Result:
    """Run the report command."""
    # Importing this takes two seconds, so only do it if these tests run.
    from queries import report  # noqa: PLC0415

    return CliRunner().invoke(report.main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module", autouse=True)
def bundle_once() -> Iterator[None]:
    """Bundle the JavaScript only once. It takes a second and is the same on every page."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vl_convert, "javascript_bundle", cache(vl_convert.javascript_bundle))
        yield


@pytest.fixture
def duckdb_file(tmp_path: Path) -> Database:
    """A DuckDB file."""
    path = str(tmp_path / "warehouse.duckdb")
    return Database(path, "tuple", tmp_path, lambda: duckdb.connect(path).begin(), DUCKDB)


@pytest.fixture(
    params=["duckdb", pytest.param("postgres", marks=pytest.mark.xdist_group("meltano"))]
)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database of each kind, cleaned up after the test."""
    if request.param == "duckdb":
        yield request.getfixturevalue("duckdb_file")
        return
    url = request.getfixturevalue("postgres")
    # The format that target-postgres expects, so that one URL works for both.
    address = url.replace("://", "+psycopg://")
    yield Database(address, SCHEMA, tmp_path, lambda: psycopg.connect(url), POSTGRES)
    with psycopg.connect(url) as connection:
        connection.execute(f'DROP SCHEMA "{SCHEMA}" CASCADE')


class TestCharts:
    def test_weeks_chart_sums_the_hours_of_everyone(self, database: Database) -> None:
        results = database.load(*KNOWN_CALLS)

        rows = database.page().rows("weeks")

        hours = results["hours_paired_per_person_and_week"]
        assert [row["week"][:10] for row in rows] == [
            f"{MONDAY + timedelta(days=days)}" for days in (0, 7, 14)
        ]
        for row in rows:
            week_hours = [float(hours) for _, week, hours in hours if f"{week}" == row["week"][:10]]
            assert row["hours"] == pytest.approx(sum(week_hours))
            assert row["people"] == len(week_hours)
        # First week: A and B 75 minutes each, C 20. Third week: A and C 90 minutes each, D 30.
        assert [row["hours"] for row in rows] == pytest.approx([2.83, 0, 3.5], abs=0.001)
        assert [row["people"] for row in rows] == [3, 0, 3]
        assert [row["is_whole"] for row in rows] == [True, True, False]

    def test_matrix_has_every_pair_in_both_directions(self, database: Database) -> None:
        results = database.load(*KNOWN_CALLS)

        page = database.page()

        last_days = {(a, b): day for a, b, day in results["last_time_together"]}
        expected = []
        for a, b, calls, minutes in results["who_pairs_with_whom"]:
            day = f"{last_days[a, b]:%-d %b %Y}"
            text = f"{minutes / 60:,.1f} hours in {calls} call{'s' * (calls > 1)}, last on {day}"
            expected += [f"{a[0]} and {b[0]}: {text}", f"{b[0]} and {a[0]}: {text}"]
        assert sorted(page.pairs) == sorted(expected)
        assert "b and a: 1.2 hours in 2 calls, last on 4 Mar 2026" in page.pairs

    def test_sizes_chart_matches_the_query(self, database: Database) -> None:
        results = database.load(*KNOWN_CALLS)

        rows = database.page().rows("sizes")

        assert [(row["participants"], row["calls"], row["percent"]) for row in rows] == [
            (size, calls, float(percent))
            for size, calls, percent in results["share_of_calls_by_size"]
        ]
        assert [row["size"] for row in rows] == [
            "1 (solo): 25.0%",
            "2 (pair): 25.0%",
            "3+ (group): 50.0%",
        ]

    def test_matrix_color_is_proportional_to_time_together(self, duckdb_file: Database) -> None:
        duckdb_file.load(monday_call(60, (A, 0, 60), (B, 0, 60), (C, 0, 30)))

        html = duckdb_file.page().html

        assert sorted(re.findall(r"--share: ([\d.]+)", html)) == ["0.500"] * 4 + ["1.000"] * 2

    def test_matrix_groups_people_who_pair_often(self, duckdb_file: Database) -> None:
        teams = ("a", "d", "g"), ("b", "e", "h"), ("c", "f", "i")
        stays = [[(f"{name}@lumen.example", 0, 60) for name in team] for team in teams]
        everybody = [(email, 50, 60) for team in stays for email, _, _ in team]
        duckdb_file.load(*(monday_call(60, *team) for team in stays), monday_call(60, *everybody))

        order = duckdb_file.page().people

        assert {frozenset(order[n : n + 3]) for n in (0, 3, 6)} == {
            frozenset(team) for team in teams
        }


class TestPage:
    def test_page_has_all_charts_and_their_text(self, duckdb_file: Database) -> None:
        duckdb_file.load(*KNOWN_CALLS)

        page = duckdb_file.page()

        assert set(page.charts) == {"weeks", "sizes"}
        assert {value for name, value in page.attributes if name == "id"} >= set(page.charts)
        for sentence in (
            "How 4 people paired 2 Mar 2026 to 17 Mar 2026: 4 calls, 3 of them with two",
            "A typical week has 1 person-hour of pairing",
            "Incomplete weeks are paler, and don't count toward the typical week.",
            "Half of all calls are longer than 45 minutes, and one in ten is longer than 81",
            "A typical person has paired with 2 others",
            "The pair who spent the most time together is a and c: 1.8 hours in 2 calls.",
            "50% of the calls had three or more people",
            "Nobody has gone two weeks without pairing",
            "Nobody is new",
        ):
            assert sentence in page.words

    def test_page_loads_nothing_from_the_network(self, duckdb_file: Database) -> None:
        duckdb_file.load(*KNOWN_CALLS)

        page = duckdb_file.page()

        policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'"
        assert ("content", policy) in page.attributes
        loading = {"action", "background", "data", "href", "poster", "src", "srcset", "xlink:href"}
        assert not loading & {name for name, _ in page.attributes}
        assert not re.search(r"url\(|@import", "".join(page.contents["style"]))
        addresses = set(re.findall(r"\w+://[^\s\"'`)]+", page.html))
        assert {
            each for each in addresses - UNFETCHED_URLS if not CHART_SCHEMA.fullmatch(each)
        } == set()
        # URLs may lack a scheme, so count slashes. A chart's only URL is that of its schema.
        assert json.dumps(page.charts).count("//") == len(page.charts)

    def test_people_who_have_not_paired_are_listed(self, database: Database) -> None:
        database.load(
            call("2026-02-09 09:00", 60, (A, 0, 60), (B, 0, 60), (C, 0, 60)),
            call("2026-02-10 09:00", 60, ("d.d@lumen.example", 0, 60)),
            call("2026-03-10 09:00", 60, (A, 0, 60), (DELETED, 0, 60)),
        )

        words = database.page().words

        assert "3 people have not paired for two weeks" in words
        assert "b 9 Feb 2026 29 c 9 Feb 2026 29 d. d never" in words

    def test_newcomers_are_listed_with_their_first_partners(self, database: Database) -> None:
        others = [(f"other{number}@lumen.example", 0, 60) for number in range(5)]
        database.load(
            monday_call(60, *others),
            call("2026-05-04 09:00", 60, (A, 0, 60)),
            call("2026-05-08 09:00", 60, (A, 0, 60), others[0], (DELETED, 0, 60)),
            call("2026-05-11 09:00", 60, (B, 0, 60), *others),
            call("2026-05-12 09:00", 60, (C, 0, 60)),
        )

        words = database.page().words

        assert "2 of 3 newcomers have paired A typical newcomer first paired after 2 days." in words
        assert "a 4 May 2026 after 4 days, with (deleted account), other0 b" in words
        assert "b 11 May 2026 on the same day, with other0, other1, other2 and 2 more" in words
        assert "c 12 May 2026 not yet" in words

    @pytest.mark.parametrize(
        ("newcomers", "paired", "heading"),
        [
            (1, 0, "The only newcomer hasn't paired yet"),
            (1, 1, "The only newcomer has paired"),
            (3, 0, "None of the 3 newcomers has paired yet"),
            (3, 1, "1 of 3 newcomers has paired"),
            (3, 3, "All 3 newcomers have paired"),
        ],
    )
    def test_heading_says_how_many_newcomers_paired(
        self, duckdb_file: Database, newcomers: int, paired: int, heading: str
    ) -> None:
        people = [(f"new{number}@lumen.example", 0, 60) for number in range(newcomers)]
        duckdb_file.load(
            monday_call(60, (A, 0, 60)),
            *(
                call(f"2026-05-{4 + number:02} 09:00", 60, each)
                for number, each in enumerate(people)
            ),
            *(
                call(f"2026-05-{14 + number:02} 09:00", 60, each, (A, 0, 60))
                for number, each in enumerate(people[:paired])
            ),
        )

        assert heading in duckdb_file.page().words

    def test_typical_newcomer_may_pair_on_the_first_day(self, duckdb_file: Database) -> None:
        duckdb_file.load(
            monday_call(60, (A, 0, 60)), call("2026-05-11 09:00", 60, (B, 0, 60), (C, 0, 60))
        )

        words = duckdb_file.page().words

        assert "Both newcomers have paired A typical newcomer paired on their first day." in words


WEEKLY = tuple(
    call(f"{MONDAY + timedelta(weeks=week)} 09:00", minutes, (A, 0, minutes), (B, 0, minutes))
    for week, minutes in enumerate((60, 60, 60, 60, 60, 60, 60, 120))
)
"""Eight weeks of pairing: four hours in the first four weeks, and five in the last four."""
LAST_FRIDAY = call("2026-04-24 09:00", 10, (C, 0, 10), (D, 0, 10))


class TestPeopleAndTrend:
    def test_trend_compares_four_weeks_to_the_previous_four(self, database: Database) -> None:
        database.load(*WEEKLY, LAST_FRIDAY)

        words = database.page().words

        assert "The last four whole weeks had 10 person-hours, 29% more than the four" in words

    def test_trend_needs_eight_whole_weeks(self, duckdb_file: Database) -> None:
        duckdb_file.load(*WEEKLY[1:], LAST_FRIDAY)

        assert "The last four whole weeks" not in duckdb_file.page().words

    def test_first_week_is_incomplete_if_data_starts_midweek(self, duckdb_file: Database) -> None:
        duckdb_file.load(call("2026-02-24 09:00", 60, (A, 0, 60), (B, 0, 60)), *WEEKLY, LAST_FRIDAY)

        weeks = duckdb_file.page().rows("weeks")

        assert [week["is_whole"] for week in weeks] == [False] + [True] * 8

    def test_hours_per_person_cover_four_weeks(self, database: Database) -> None:
        database.load(*WEEKLY, LAST_FRIDAY)

        words = database.page().words

        assert "Hours per person in the last 4 whole weeks" in words
        assert "Who Hours Partners so far a 5.0 1 b 5.0 1 c 0.2 1 d 0.2 1" in words

    def test_people_with_few_partners_are_listed(self, database: Database) -> None:
        database.load(*WEEKLY, LAST_FRIDAY)

        words = database.page().words

        assert "4 people have paired with only one or two others" in words
        assert "Who Partners a 1 b 1 c 1 d 1" in words

    def test_people_who_may_have_left_are_listed_separately(self, database: Database) -> None:
        database.load(
            call("2025-12-01 09:00", 60, (C, 0, 60), (D, 0, 60)),
            monday_call(60, (A, 0, 60), (B, 0, 60)),
            call("2026-03-20 09:00", 60, (A, 0, 60)),
        )

        words = database.page().words

        assert "2 people have not paired for two weeks" in words
        assert (
            "Last paired Days ago a 2 Mar 2026 18 b 2 Mar 2026 18 Another 2 people haven't" in words
        )
        assert "Who may have left Who Last seen c 1 Dec 2025 d 1 Dec 2025" in words

    def test_heading_covers_only_people_who_are_still_active(self, duckdb_file: Database) -> None:
        duckdb_file.load(
            call("2025-12-01 09:00", 60, (C, 0, 60)), monday_call(60, (A, 0, 60), (B, 0, 60))
        )

        words = duckdb_file.page().words

        assert "Nobody who is still active has gone two weeks without pairing 1 person" in words


class TestNoPeople:
    people: tuple[Stay, ...] = tuple((f"canary{n}@lumen.example", 0, 60) for n in range(6))

    def test_page_does_not_mention_individuals(self, database: Database) -> None:
        database.load(
            monday_call(60, *self.people),
            call("2026-03-06 09:00", 60, *self.people[:2]),
            call("2026-06-01 09:00", 60, *self.people[2:4], ("canary9@lumen.example", 0, 60)),
        )

        page = database.page("--no-people")

        assert "canary" not in page.html
        assert page.people == page.pairs == []
        assert "A typical week has" in page.words
        assert "How 7 people paired" in page.words
        assert "Fewer than 5 people are new" in page.words

    def test_weeks_with_fewer_than_five_people_are_hidden(self, duckdb_file: Database) -> None:
        duckdb_file.load(
            monday_call(60, *self.people),
            call("2026-03-09 09:00", 60, *self.people[:4]),
            call("2026-03-16 09:00", 60, *self.people[:5]),
        )

        page = duckdb_file.page("--no-people")

        weeks = page.rows("weeks")
        assert [(week["hours"], week["people"]) for week in weeks] == [(6, 6), (None, None), (5, 5)]
        assert "9 Mar 2026 fewer than 5 people" in page.words
        assert "fewer than 5 people have not paired" in page.words.lower() or "Nobody" in page.words

    def test_small_counts_are_shown_as_fewer_than_five(self, duckdb_file: Database) -> None:
        duckdb_file.load(
            monday_call(60, *self.people), call("2026-03-20 09:00", 60, *self.people[:4])
        )

        assert (
            "Fewer than 5 people have not paired for two weeks"
            in duckdb_file.page("--no-people").words
        )

    def test_small_groups_in_every_week_are_not_called_nobody(self, duckdb_file: Database) -> None:
        weeks = range(0, 21, 7)
        duckdb_file.load(
            *(
                call(f"2026-03-{2 + day:02} 09:00", 60, *self.people[number : number + 2])
                for number, day in enumerate(weeks)
            ),
            monday_call(0.001, self.people[5]),
        )

        words = duckdb_file.page("--no-people").words

        assert "Fewer than 5 people paired in each week" in words
        assert "Nobody has paired yet" not in words

    def test_small_team_gets_no_numbers(self, duckdb_file: Database) -> None:
        duckdb_file.load(*KNOWN_CALLS)

        page = duckdb_file.page("--no-people")

        assert "How the team paired" in page.words
        assert "has nothing to show" in page.words
        assert page.charts == {}


class TestTextInsteadOfCharts:
    def test_page_without_calls_says_what_to_do(self, database: Database) -> None:
        database.load()

        page = database.page()

        assert "No calls yet The tables are empty. Load calls first" in page.words
        assert page.charts == {}

    @pytest.mark.parametrize(
        ("calls", "charts", "sentences"),
        [
            pytest.param(
                [monday_call(60, (A, 0, 60))],
                set(),
                [
                    "How 1 person paired 2 Mar 2026: 1 call. Nobody",
                    "Nobody has paired yet",
                    "The only call had one person",
                ],
                id="one solo call",
            ),
            pytest.param(
                [monday_call(60, (A, 0, 60), (A, 10, 50)), call("2026-05-01 09:00", 5, (A, 0, 5))],
                set(),
                ["Nobody has paired yet", "All 2 calls had one person", "1 person has not paired"],
                id="two solo calls",
            ),
            pytest.param(
                [monday_call(90, (A, 0, 90), (B, 0, 90))],
                set(),
                [
                    "3.0 person-hours of pairing, all in the week of 2 Mar 2026",
                    "a and b: 1.5 hours together in 1 call",
                    "They were last together on 2 Mar 2026.",
                    "The only call had two people",
                ],
                id="one call of a pair",
            ),
            pytest.param(
                [monday_call(60)],
                set(),
                [
                    "How 0 people paired 2 Mar 2026: 1 call.",
                    "The only call had no recorded participants",
                ],
                id="one empty call",
            ),
            pytest.param(
                [monday_call(60, (A, 0, 60), (DELETED, 0, 60))],
                set(),
                ["1.0 person-hour of pairing, all in the week of 2 Mar 2026"],
                id="one call with a deleted account",
            ),
            pytest.param(
                [monday_call(0.0005, (A, 0, 0.0005), (B, 0, 0.0005), (C, 0, 0.0005))],
                set(),
                ["0.0 person-hours of pairing", "Nobody has gone two weeks without pairing"],
                id="one very short call",
            ),
        ],
    )
    def test_few_calls_are_described_in_sentences(
        self, duckdb_file: Database, calls: list[Call], charts: set[str], sentences: list[str]
    ) -> None:
        duckdb_file.load(*calls)

        page = duckdb_file.page()

        assert set(page.charts) == charts
        assert [sentence for sentence in sentences if sentence not in page.words] == []


class TestNames:
    def names(self, page: Page) -> set[str]:
        return set(page.people)

    @pytest.mark.parametrize(
        ("emails", "names"),
        [
            ((A, B, C), {"a", "b", "c"}),
            ((A, "a@other.example", C), {A, "a@other.example", "c"}),
            (("1" * 64, "2" * 64, C), {"11111111", "22222222", "c"}),
            (("1" * 64, "1" * 63 + "2", C), {"1" * 64, "1" * 63 + "2", "c"}),
            ((f"{'long.' * 10}name@lumen.example", B, C), {"long.long.long.long.long", "b", "c"}),
            (("</script><b>@x", '"; alert(1) //@x', C), {"</script><b>", '"; alert(1) //', "c"}),
        ],
    )
    def test_names_are_short_and_unique(
        self, duckdb_file: Database, emails: tuple[str, ...], names: set[str]
    ) -> None:
        duckdb_file.load(monday_call(60, *((email, 0, 60) for email in emails)))

        assert self.names(duckdb_file.page()) == names

    def test_pseudonyms_replace_every_name(self, duckdb_file: Database) -> None:
        emails = [f"canary{number}@lumen.example" for number in range(5)]
        people: list[Stay] = [(email, 0, 60) for email in emails]
        duckdb_file.load(
            monday_call(60, *people[:3]),
            call("2026-05-04 09:00", 60, people[3], people[0]),
            call("2026-06-04 09:00", 60, people[4], *people[:2]),
        )

        named, page = duckdb_file.page().html, duckdb_file.page("--pseudonyms")

        assert self.names(page) == {f"Person {number}" for number in range(1, 6)}
        assert "with Person" in page.words
        assert named.count("canary") > 10
        assert "canary" not in page.html

    def test_pseudonyms_differ_from_page_to_page(self, duckdb_file: Database) -> None:
        """Otherwise, two pages could be matched by the order of the numbers."""
        duckdb_file.load(
            monday_call(60, *((f"{number}@lumen.example", 0, 60) for number in range(9)))
        )

        pages = {tuple(duckdb_file.page("--pseudonyms").people) for _ in range(5)}

        assert len(pages) > 1


class TestBadInput:
    """Errors are one line with exit code 1, and leave an earlier page untouched."""

    before = "an earlier page"

    def check(self, run: Result, output: Path, message: str) -> None:
        assert run.exit_code == 1
        assert run.stdout == ""
        assert run.stderr.startswith("Error: ")
        assert run.stderr.count("\n") == 1
        assert message in run.stderr
        assert not output.exists() or output.read_text() == self.before
        assert list(output.parent.glob("*.part")) == []

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            (
                "missing.duckdb",
                "missing.duckdb: it doesn't exist. Load calls first, or name another",
            ),
            ("folder", "Is a directory"),
            ("other.txt", "is not a valid DuckDB database file"),
        ],
    )
    def test_invalid_database_file_is_reported_on_one_line(
        self, tmp_path: Path, name: str, message: str
    ) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "other.txt").write_text("no database " * 1000)
        output = tmp_path / "report.html"
        output.write_text(self.before)

        self.check(generate(tmp_path / name, "--output", output), output, message)

    def test_password_in_a_connection_string_is_not_quoted(self, tmp_path: Path) -> None:
        output = tmp_path / "report.html"

        run = generate("host=localhost password=canary", "--output", output)

        assert "DATABASE isn't a valid postgresql:// URL." in run.stderr
        assert "canary" not in run.output

    def test_missing_tables_are_reported_on_one_line(self, database: Database) -> None:
        with closing(database.connect()) as connection:
            connection.execute(f'CREATE SCHEMA "{database.schema}"')
            connection.commit()

        error = f"Schema {database.schema} is missing calls or call_participations."
        self.check(database.generate(), database.output, error)

    def test_missing_schema_is_reported_on_one_line(self, database: Database) -> None:
        database.load(*KNOWN_CALLS)

        run = database.generate("--schema", 'o"ther')

        self.check(run, database.output, 'Schema o"ther is missing calls')

    def test_unrelated_tables_are_reported_on_one_line(self, duckdb_file: Database) -> None:
        with closing(duckdb.connect(duckdb_file.address)) as connection:
            connection.execute('CREATE SCHEMA "tuple"; CREATE TABLE "tuple".calls (id int)')
            connection.execute('CREATE TABLE "tuple".call_participations (id int)')

        self.check(duckdb_file.generate(), duckdb_file.output, "user_email")

    @pytest.mark.xdist_group("meltano")
    @pytest.mark.parametrize("database", ["postgres"], indirect=True)
    def test_missing_permission_is_reported_on_one_line(self, database: Database) -> None:
        database.load(*KNOWN_CALLS)
        with database.connect() as connection:
            connection.execute("CREATE ROLE stranger LOGIN PASSWORD 'canary'")
        try:
            url = re.sub("//.*@", "//stranger:canary@", database.address)
            run = generate(url, "--schema", SCHEMA, "--output", database.output)
        finally:
            with database.connect() as connection:
                connection.execute("DROP ROLE stranger")

        self.check(run, database.output, f"permission denied for schema {SCHEMA}")
        assert "canary" not in run.stderr

    def test_unreachable_server_is_reported_on_one_line(self, tmp_path: Path) -> None:
        output = tmp_path / "report.html"

        run = generate(f"postgresql://me:canary@127.0.0.1:{free_port()}/db", "--output", output)

        self.check(run, output, "Connection refused")
        assert "canary" not in run.stderr

    def test_unresponsive_server_is_reported_on_one_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = psycopg.connect

        def impatient(url: str, *, connect_timeout: int) -> Any:
            assert 0 < connect_timeout <= 10
            return real(url, connect_timeout=2)

        monkeypatch.setattr(psycopg, "connect", impatient)
        output = tmp_path / "report.html"
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            run = generate(f"postgres://me:canary@127.0.0.1:{port}/db", "--output", output)

        self.check(run, output, "timeout expired")
        assert "canary" not in run.stderr

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://me:ca@nary@127.0.0.1:1/db",
            "postgresql://me:ca/nary@127.0.0.1:1/db",
            "postgresql://me:ca?nary@127.0.0.1:1/db",
            "postgresql://me:ca%nary@127.0.0.1:1/db",
            "postgresql://me:ca nary@127.0.0.1:1/db",
            "postgresql:/me:ca-nary@127.0.0.1:1/db",
            "postgrsql://me:ca-nary@127.0.0.1:1/db",
            "mysql://me:ca-nary@127.0.0.1:1/db",
        ],
    )
    def test_malformed_url_is_not_quoted(self, tmp_path: Path, url: str) -> None:
        output = tmp_path / "report.html"

        run = generate(url, "--output", output)

        self.check(run, output, "DATABASE isn't a valid postgresql:// URL")
        assert "nary" not in run.stderr

    @pytest.mark.parametrize(
        ("output", "message"),
        [("folder", "Is a directory"), ("nowhere/report.html", "No such file or directory")],
    )
    def test_unwritable_output_is_reported_on_one_line(
        self, duckdb_file: Database, output: str, message: str
    ) -> None:
        duckdb_file.load(*KNOWN_CALLS)
        (duckdb_file.folder / "folder").mkdir()
        path = duckdb_file.folder / output

        run = duckdb_file.generate("--output", path)

        self.check(run, duckdb_file.output, f"Can't write {path}: {message}")
        assert list(duckdb_file.folder.rglob("*.part")) == []
        assert (duckdb_file.folder / "folder").is_dir()


def test_script_requires_the_tested_versions() -> None:
    script = (QUERIES / "report.py").read_text("utf-8")
    (block,) = re.findall(r"# /// script\n(.+?)# ///\n", script, re.DOTALL)
    named = tomllib.loads(re.sub("^# ", "", block, flags=re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

    assert len(named["dependencies"]) > 5
    assert without_markers(named["dependencies"]) <= without_markers(
        project["dependency-groups"]["test-project"]
    )


def without_markers(requirements: list[str]) -> set[tuple[str, frozenset[str], SpecifierSet]]:
    """Return requirements without markers, because the script itself limits the Python version."""
    parsed = map(Requirement, requirements)
    return {(each.name, frozenset(each.extras), each.specifier) for each in parsed}


def test_readme_picture_is_small() -> None:
    picture = ROOT / "docs" / "report.png"

    assert picture.stat().st_size < 300_000
