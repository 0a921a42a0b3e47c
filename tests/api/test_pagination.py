"""The rule of `CallPages`, point by point, without HTTP: a table of answers and what follows."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest
import requests

from tap_tuple.api.pagination import MAX_FRUITLESS_RESPONSES, CallPages
from tap_tuple.api.response import Call, UnexpectedResponseError
from tests.conftest import FIRST_END

if TYPE_CHECKING:
    from collections.abc import Sequence

    Expected = tuple[str, str, str]

LINK = '<https://elsewhere.example/api/v2/call_usage?page=7&per_page=3&since=x>; rel="next"'


def answer(count: int | str | None = None, *, link: bool = False) -> requests.Response:
    response = requests.Response()
    if count is not None:
        response.headers["X-Total-Count"] = str(count)
    if link:
        response.headers["Link"] = LINK
    return response


def calls(*seconds: float, first_id: int | None = None) -> list[Call]:
    """Return calls that ended so many seconds after the first end; ids follow the seconds."""
    return [
        Call(
            id=int(second * 1000) if first_id is None else first_id + place,
            ended_at=f"{FIRST_END + timedelta(seconds=second):%Y-%m-%dT%H:%M:%S.%fZ}",
        )
        for place, second in enumerate(seconds)
    ]


def ties(second: float, ids: Sequence[int]) -> list[Call]:
    return [call for number in ids for call in calls(second, first_id=number)]


def ask(pages: CallPages) -> str | None:
    """Return the next query, seconds instead of an instant; None at the end."""
    if not pages.has_more(answer()):
        return None
    query, _, _ = pages.get_next_url(answer()).removeprefix("?").partition("#")
    return query.replace("2026-03-02T09%3A", "").replace("%3A", ":").replace(".000Z", "")


def test_the_next_page_begins_a_second_before_the_last_call_at_page_1() -> None:
    pages = CallPages(FIRST_END, 3)

    pages.take(answer(9), calls(0, 10, 20))

    assert ask(pages) == "since=00:19&per_page=4"
    assert pages.missing == 6
    assert pages.read_until == "2026-03-02T09:00:20.000000Z"


def test_the_overlap_is_left_out_and_asked_for_beside_a_full_page() -> None:
    pages = CallPages(FIRST_END, 3)
    pages.take(answer(9), calls(0, 19.5, 20))

    fresh = pages.take(answer(8), calls(19.5, 20, 30, 40, 50))

    assert fresh == calls(30, 40, 50)
    assert ask(pages) == "since=00:49&per_page=4"


def test_no_page_is_longer_than_the_api_allows() -> None:
    pages = CallPages(FIRST_END, 1000)
    pages.take(answer(5000), calls(*range(1000)))

    assert ask(pages) == "since=16:38&per_page=1000"


def test_a_call_that_changed_meanwhile_comes_out_anew() -> None:
    pages = CallPages(FIRST_END, 2)
    pages.take(answer(3), calls(0, 10))
    changed = [Call(id=10_000, ended_at=calls(10)[0].ended_at, duration_seconds=7), *calls(20)]

    assert pages.take(answer(2), changed) == changed


@pytest.mark.parametrize(
    ("count", "link", "brought", "is_end"),
    [
        (2, False, calls(10, 20), True),
        (1, False, calls(10), True),
        (2, True, calls(10, 20), False),
        (3, False, calls(10, 20), False),
        (None, False, calls(10, 20), False),
        (None, False, calls(10), True),
        (None, True, calls(10), False),
        # A count below what came is none.
        (1, False, calls(10, 20), False),
        ("many", False, calls(10, 20), False),
    ],
)
def test_the_answer_proves_the_end_by_count_and_link_together(
    count: int | str | None,
    link: bool,  # noqa: FBT001 - a parameter of the test
    brought: list[Call],
    is_end: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    pages = CallPages(FIRST_END, 2)
    pages.take(answer(3, link=True), calls(0, 10))

    pages.take(answer(count, link=link), brought)

    assert (ask(pages) is None) is is_end


def test_a_count_that_promises_what_does_not_come_is_asked_for_again_and_then_ends() -> None:
    pages = CallPages(FIRST_END, 2)
    pages.take(answer(3), calls(0, 10))

    asked = [ask(pages)]
    while asked[-1]:
        pages.take(answer(2), [] if "&page=" in asked[-1] else calls(10))
        asked.append(ask(pages))

    assert 2 <= len(asked) <= 6
    assert (pages.read, pages.missing) == (2, 1)
    assert pages.read_until == calls(10)[0].ended_at


def test_more_calls_in_a_second_than_a_page_holds_are_read_by_pages_until_two_readings_agree() -> (
    None
):
    """The server cuts pages at two."""
    pages = CallPages(FIRST_END, 10)
    tied = ties(0, range(1, 6))
    pages.take(answer(6, link=True), tied[:2])
    asked = [ask(pages)]
    answers = {"2": tied[2:4], "3": [*tied[4:], *calls(30)], "1": tied[:2]}
    read_until = set()
    while asked[-1] and "since=00:00" in asked[-1]:
        page = asked[-1].partition("&page=")[2] or "1"
        read_until.add(pages.read_until)
        pages.take(answer(6, link=page != "3"), answers[page])
        asked.append(ask(pages))

    assert [(each or "").partition("&page=")[2] for each in asked] == ["2", "3", "", "2", "3", ""]
    assert read_until == {tied[0].ended_at}
    assert pages.read_until == calls(30)[0].ended_at
    assert pages.read == 6


def test_a_deletion_within_such_pages_loses_no_call() -> None:
    pages = CallPages(FIRST_END, 10)
    pages.take(answer(6, link=True), ties(0, (1, 2)))
    # Call 1 is deleted: what was the third is on page 1 now, under the same count.
    pages.take(answer(6, link=True), ties(0, (4, 5)))
    pages.take(answer(6), ties(0, (6, 7)))

    left = ties(0, (2, 3, 4, 5, 6, 7))
    came = [call.id for call in pages.take(answer(6, link=True), left[:2])]
    while asked := ask(pages):
        page = int(asked.partition("&page=")[2] or 1)
        came += [c.id for c in pages.take(answer(6), left[2 * page - 2 : 2 * page])]

    assert came == [3]
    assert pages.read == 7


def test_the_rest_of_a_page_that_came_short_is_asked_for_again() -> None:
    pages = CallPages(FIRST_END, 4)
    pages.take(answer(4), ties(0, (1, 2)))

    assert ask(pages) in {"since=00:00&per_page=4&page=2", "since=00:00&per_page=4"}
    pages.take(answer(4), ties(0, (1, 2, 3, 4)))

    assert pages.read == 4


def test_answers_that_promise_more_for_ever_are_an_error() -> None:
    pages = CallPages(FIRST_END, 4)
    pages.take(answer(link=True), calls(0, 10))

    def go_on() -> int:
        for taken in range(MAX_FRUITLESS_RESPONSES + 2):
            pages.take(answer(link=True), calls(10))
            assert ask(pages), taken
        return taken

    with pytest.raises(UnexpectedResponseError, match="promises more calls than it sends"):
        go_on()


def test_a_limit_ends_a_connection_test() -> None:
    pages = CallPages(FIRST_END, 1, limit=1)

    pages.take(answer(99, link=True), calls(0))

    assert ask(pages) is None


def test_no_two_tokens_in_a_row_are_equal() -> None:
    """The SDK takes them for a loop."""
    pages = CallPages(FIRST_END, 2)
    tokens = []
    while not pages.finished:
        tokens.append(pages.current_value)
        is_first = "page=" not in (ask(pages) or "").removeprefix("since=00:00&per_page=")
        pages.take(answer(9), calls(0) if is_first else [])
        pages.advance(answer(9))

    assert len(tokens) > 3
    assert len(set(tokens)) == len(tokens)


def test_calls_of_the_json_compare_as_a_whole() -> None:
    body = b'[{"id": 1, "ended_at": "2026-03-02T09:00:00Z", "call_participations": [{"id": 2}]}]'
    decoder = msgspec.json.Decoder(list[Call])

    assert decoder.decode(body) == decoder.decode(body)
    assert decoder.decode(body) != decoder.decode(body.replace(b'"id": 2', b'"id": 3'))
