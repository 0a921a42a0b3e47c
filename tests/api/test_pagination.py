"""Pagination rules, tested on lists of calls without HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest
import requests

from tap_tuple.api.pagination import (
    MAX_FRUITLESS_PASSES,
    MAX_ROUNDS_FOR_COUNT,
    MAX_ROUNDS_FOR_LINK,
    CallPages,
    Pass,
    Query,
)
from tap_tuple.api.response import Call, UnexpectedResponseError
from tests.conftest import FIRST_END

if TYPE_CHECKING:
    from collections.abc import Iterable

LINK = '<https://elsewhere.example/api/v2/call_usage?page=7&per_page=3&since=x>; rel="next"'


def make_response(count: int | str | None = None, *, link: bool = False) -> requests.Response:
    response = requests.Response()
    if count is not None:
        response.headers["X-Total-Count"] = str(count)
    if link:
        response.headers["Link"] = LINK
    return response


def calls_ending_at(*seconds: float) -> list[Call]:
    """Return calls that ended this many seconds after FIRST_END. Their ids are milliseconds."""
    return [call_ending_at(second, call_id=int(second * 1000)) for second in seconds]


def tied_calls(ids: Iterable[int], second: float = 0) -> list[Call]:
    """Return calls that ended at the same instant."""
    return [call_ending_at(second, call_id=number) for number in ids]


def call_ending_at(second: float, call_id: int) -> Call:
    return Call(id=call_id, ended_at=FIRST_END + timedelta(seconds=second))


def by_id(calls: list[Call]) -> dict[int, Call]:
    return {call.id: call for call in calls}


def next_request(pages: CallPages) -> str | None:
    """Return the next query string, with times cut to minutes and seconds. None at the end."""
    if not pages.has_more(make_response()):
        return None
    query, _, _ = pages.get_next_url(make_response()).removeprefix("?").partition("#")
    return query.replace("2026-03-02T09%3A", "").replace("%3A", ":").replace(".000Z", "")


def next_page(pages: CallPages) -> int | None:
    """Return the page number of the next request. None at the end."""
    request = next_request(pages)
    return None if request is None else int(request.partition("&page=")[2] or 1)


class TestQuery:
    def test_query_string_omits_page_1(self) -> None:
        assert Query(FIRST_END, 5).to_query_string().endswith("&per_page=5")
        assert Query(FIRST_END, 5, page=2).to_query_string().endswith("&per_page=5&page=2")

    def test_query_with_later_since_is_greater(self) -> None:
        assert Query(FIRST_END + timedelta(seconds=1), 5) > Query(FIRST_END, 9, page=4)

    def test_query_with_more_calls_per_page_is_greater(self) -> None:
        assert Query(FIRST_END, 9) > Query(FIRST_END, 5, page=4)

    def test_query_with_earlier_page_is_not_greater(self) -> None:
        assert not Query(FIRST_END, 5) > Query(FIRST_END, 5, page=4)


class TestPass:
    def test_single_page_has_all_calls(self) -> None:
        one_pass = Pass()
        one_pass.add(1, by_id(tied_calls([1, 2])))

        assert one_pass.has_all_calls_on_page_1(page_length=2)
        assert not one_pass.has_repeats_before(None)

    def test_page_1_is_incomplete_if_page_2_has_calls(self) -> None:
        one_pass = Pass()
        one_pass.add(1, by_id(tied_calls([1, 2])))
        one_pass.add(2, by_id(tied_calls([3])))

        assert not one_pass.has_all_calls_on_page_1(page_length=2)
        assert not one_pass.has_repeats_before(None)

    def test_call_on_two_pages_is_a_repeat(self) -> None:
        one_pass = Pass()
        one_pass.add(1, by_id(tied_calls([1, 2])))
        one_pass.add(2, by_id(tied_calls([2, 3])))

        assert one_pass.has_repeats_before(None)

    def test_another_round_finds_the_skipped_call(self) -> None:
        one_pass = Pass()
        one_pass.add(1, by_id(tied_calls([1, 2])))
        one_pass.add(2, by_id(tied_calls([2, 3])))

        one_pass.add(1, by_id(tied_calls([1, 4])))
        one_pass.add(2, by_id(tied_calls([2, 3])))

        assert one_pass.calls.keys() == {1, 2, 3, 4}
        assert not one_pass.has_repeats_before(None)
        assert not one_pass.has_all_calls_on_page_1(page_length=2)

    def test_later_calls_in_another_round_do_not_hide_a_repeat(self) -> None:
        """Four calls tie. Both rounds show the same three, but not the same later call."""
        one_pass = Pass()
        one_pass.add(1, by_id(tied_calls([1, 2])))
        one_pass.add(2, by_id([*tied_calls([2, 3]), *calls_ending_at(30)]))
        one_pass.add(1, by_id(tied_calls([1, 2])))
        one_pass.add(2, by_id([*tied_calls([2, 3]), *calls_ending_at(20)]))

        assert one_pass.has_repeats_before(FIRST_END + timedelta(seconds=20))

    def test_page_1_is_incomplete_if_it_lacks_a_known_call(self) -> None:
        one_pass = Pass()
        one_pass.add(1, by_id(tied_calls([1, 2])))
        one_pass.add(2, by_id(tied_calls([3])))

        one_pass.add(1, by_id(tied_calls([1, 3])))

        assert not one_pass.has_all_calls_on_page_1(page_length=2)

    def test_page_1_is_incomplete_if_a_call_moves_to_page_2(self) -> None:
        """Another call may have taken its place on page 1 after that page was read."""
        one_pass = Pass()
        one_pass.add(1, by_id([call_ending_at(10, call_id=1)]))
        one_pass.add(2, by_id([call_ending_at(20, call_id=1)]))

        assert not one_pass.has_all_calls_on_page_1(page_length=2)

    def test_short_page_before_another_page_is_detected(self) -> None:
        one_pass = Pass()
        one_pass.add(1, by_id(tied_calls([1])))
        one_pass.add(2, by_id(tied_calls([3, 4])))
        assert one_pass.has_short_page(page_length=2)

        one_pass.add(1, by_id(tied_calls([1, 2])))
        one_pass.add(2, by_id(tied_calls([3])))
        assert not one_pass.has_short_page(page_length=2)

    def test_full_page_1_may_lack_calls_despite_empty_page_2(self) -> None:
        """A call may have been deleted from page 1, and a third one moved there from page 2."""
        one_pass = Pass()
        one_pass.add(1, by_id(tied_calls([1, 2])))
        one_pass.add(2, {})

        assert not one_pass.has_all_calls_on_page_1(page_length=2)
        assert one_pass.has_all_calls_on_page_1(page_length=3)

    def test_fruitless_responses_are_counted_as_rounds(self) -> None:
        """Four calls fill two pages of two, so two responses make one round."""
        one_pass = Pass()
        one_pass.add(1, by_id(tied_calls([1, 2])))
        one_pass.add(2, by_id(tied_calls([3, 4])))
        assert one_pass.fruitless_rounds(page_length=2) == 0

        one_pass.add(1, by_id(tied_calls([1, 2])))
        one_pass.add(2, by_id(tied_calls([3, 4])))
        assert one_pass.fruitless_rounds(page_length=2) == 1

        one_pass.add(1, by_id(tied_calls([1, 5])))
        assert one_pass.fruitless_rounds(page_length=2) == 0

    def test_calls_are_equal_only_if_all_fields_are(self) -> None:
        """Two passes agree only if their calls are exactly the same."""
        body = (
            b'[{"id": 1, "ended_at": "2026-03-02T09:00:00Z", "call_participations": [{"id": 2}]}]'
        )
        decoder = msgspec.json.Decoder(list[Call])

        assert decoder.decode(body) == decoder.decode(body)
        assert decoder.decode(body) != decoder.decode(body.replace(b'"id": 2', b'"id": 3'))


class TestPagingByTime:
    def test_next_request_starts_a_second_before_the_last_call(self) -> None:
        pages = CallPages(FIRST_END, 3)

        page = pages.take(make_response(9), calls_ending_at(0, 10, 20))

        assert next_request(pages) == "since=00:19&per_page=4"
        assert pages.calls_missing == 6
        assert page.read_until == FIRST_END + timedelta(seconds=20)

    def test_larger_page_makes_up_for_repeated_calls(self) -> None:
        pages = CallPages(FIRST_END, 3)
        pages.take(make_response(9), calls_ending_at(0, 19.5, 20))
        assert next_request(pages) == "since=00:19&per_page=5"

        page = pages.take(make_response(8), calls_ending_at(19.5, 20, 30, 40, 50))

        assert page.calls == calls_ending_at(30, 40, 50)
        assert next_request(pages) == "since=00:49&per_page=4"

    def test_per_page_never_exceeds_the_api_maximum(self) -> None:
        pages = CallPages(FIRST_END, 1000)

        pages.take(make_response(5000), calls_ending_at(*range(1000)))

        assert next_request(pages) == "since=16:38&per_page=1000"

    def test_changed_call_is_returned_again(self) -> None:
        pages = CallPages(FIRST_END, 2)
        pages.take(make_response(3), calls_ending_at(0, 10))
        (before,) = calls_ending_at(10)
        changed = Call(id=before.id, ended_at=before.ended_at, duration_seconds=7)

        page = pages.take(make_response(2), [changed, *calls_ending_at(20)])

        assert page.calls == [changed, *calls_ending_at(20)]

    def test_paging_stops_at_the_limit(self) -> None:
        pages = CallPages(FIRST_END, 1, limit=1)

        pages.take(make_response(99, link=True), calls_ending_at(0))

        assert next_request(pages) is None

    def test_repeated_requests_have_different_tokens(self) -> None:
        """The SDK reports an endless loop if two tokens in a row are equal."""
        pages = CallPages(FIRST_END, 2)
        tokens = []
        while not pages.finished:
            tokens.append(pages.current_value)
            pages.take(make_response(9), calls_ending_at(0) if next_page(pages) == 1 else [])
            pages.advance(make_response(9))

        assert len(tokens) > 3
        assert len(set(tokens)) == len(tokens)


def read_first_round(pages: CallPages, calls: list[Call]) -> None:
    """Read pages of two calls, except that page 2 is short, and an empty page after the last."""
    rest = [calls[first : first + 2] for first in range(3, len(calls), 2)]
    server = [calls[:2], calls[2:3], *rest, []]
    last_page = len(server) - 1
    pages.take(make_response(link=True), server[0])
    for number, on_page in enumerate(server, start=1):
        assert next_page(pages) == number
        pages.take(make_response(link=number < last_page), on_page)


class TestEnd:
    @pytest.mark.parametrize(
        ("count", "link", "calls", "is_end"),
        [
            pytest.param(2, False, calls_ending_at(10, 20), True, id="count reached"),
            pytest.param(1, False, calls_ending_at(10), True, id="count reached, nothing new"),
            pytest.param(2, True, calls_ending_at(10, 20), False, id="link despite the count"),
            pytest.param(3, False, calls_ending_at(10, 20), False, id="count not reached"),
            pytest.param(None, False, calls_ending_at(10, 20), False, id="neither, new calls"),
            pytest.param(None, False, calls_ending_at(10), True, id="neither, nothing new"),
            pytest.param(None, True, calls_ending_at(10), False, id="link, nothing new"),
            pytest.param(1, False, calls_ending_at(10, 20), False, id="count too low"),
            pytest.param("many", False, calls_ending_at(10, 20), False, id="count not a number"),
        ],
    )
    def test_end_depends_on_new_calls_the_link_and_the_count(
        self,
        count: int | str | None,
        link: bool,  # noqa: FBT001 - a parameter of the test
        calls: list[Call],
        is_end: bool,  # noqa: FBT001 - a parameter of the test
    ) -> None:
        """The calls at 0 and 10 seconds have been read already. The one at 10 is repeated."""
        pages = CallPages(FIRST_END, 2)
        pages.take(make_response(3, link=True), calls_ending_at(0, 10))

        pages.take(make_response(count, link=link), calls)

        assert (next_request(pages) is None) is is_end

    def test_count_that_is_too_high_is_ignored_eventually(self) -> None:
        pages = CallPages(FIRST_END, 2)
        pages.take(make_response(3), calls_ending_at(0, 10))

        responses = 0
        while next_request(pages):
            page = pages.take(
                make_response(2), calls_ending_at(10) if next_page(pages) == 1 else []
            )
            responses += 1

        # The first response repeats the last call. All later ones are fruitless.
        assert responses == 1 + MAX_ROUNDS_FOR_COUNT
        assert (pages.calls_read, pages.calls_missing) == (2, 1)
        assert page.read_until == calls_ending_at(10)[0].ended_at

    def test_link_that_never_leads_to_new_calls_is_an_error(self) -> None:
        pages = CallPages(FIRST_END, 4)
        pages.take(make_response(link=True), calls_ending_at(0, 10))

        for _ in range(MAX_ROUNDS_FOR_LINK):
            pages.take(make_response(link=True), calls_ending_at(10))
            assert next_request(pages)

        with pytest.raises(UnexpectedResponseError, match="reports more calls than it returns"):
            pages.take(make_response(link=True), calls_ending_at(10))

    def test_deletions_between_rounds_are_not_an_error(self) -> None:
        """A short page starts a second round. By then, all calls but one have been deleted."""
        pages = CallPages(FIRST_END, 2)
        tied = tied_calls([1, 2, 3, 4, 5])
        read_first_round(pages, tied)

        while number := next_page(pages):
            page = pages.take(make_response(), tied[:1] if number == 1 else [])

        assert pages.calls_read == 5
        assert page.read_until == FIRST_END

    def test_short_page_is_followed_if_an_earlier_round_had_more(self) -> None:
        """From the second round on, the server sends a single call per page, and only two pages."""
        pages = CallPages(FIRST_END, 2)
        tied = tied_calls([1, 2, 3, 4, 5, 6, 7])
        read_first_round(pages, tied)

        later_rounds = {1: tied[:1], 2: tied[1:2]}
        while number := next_page(pages):
            pages.take(make_response(), later_rounds.get(number, []))
            if number == 1:
                assert next_page(pages) == 2

    def test_rest_of_a_short_page_is_requested(self) -> None:
        pages = CallPages(FIRST_END, 4)
        pages.take(make_response(4), tied_calls([1, 2]))

        assert next_request(pages) == "since=00:00&per_page=4&page=2"
        pages.take(make_response(4), [])
        assert next_request(pages) == "since=00:00&per_page=4"
        pages.take(make_response(4), tied_calls([1, 2, 3, 4]))

        assert next_request(pages) is None
        assert pages.calls_read == 4


class TestCrowdedSecond:
    """More calls end within a second than fit on one of the server's pages."""

    def test_pages_are_read_until_two_passes_agree(self) -> None:
        pages = CallPages(FIRST_END, 10)
        tied = tied_calls([1, 2, 3, 4, 5])
        server = {1: tied[:2], 2: tied[2:4], 3: [tied[4], *calls_ending_at(30)]}

        pages_read = []
        bookmarks = []
        while number := next_page(pages):
            pages_read.append(number)
            page = pages.take(make_response(6, link=number < 3), server[number])
            bookmarks.append(page.read_until)

        assert pages_read == [1, 2, 3, 1, 2, 3]
        assert bookmarks == [*[tied[0].ended_at] * 5, calls_ending_at(30)[0].ended_at]
        assert pages.calls_read == 6

    def test_call_skipped_because_of_a_deletion_is_found(self) -> None:
        """Call 1 is deleted after page 1 was read, so call 3 moves from page 2 to page 1."""
        pages = CallPages(FIRST_END, 10)
        pages.take(make_response(7, link=True), tied_calls([1, 2]))
        pages.take(make_response(6, link=True), tied_calls([4, 5]))
        pages.take(make_response(6), tied_calls([6, 7]))

        new_calls: list[Call] = []
        while number := next_page(pages):
            left = tied_calls([2, 3, 4, 5, 6, 7])
            on_page = left[2 * number - 2 : 2 * number]
            new_calls += pages.take(make_response(6, link=number < 3), on_page).calls

        assert [call.id for call in new_calls] == [3]

    def test_pages_are_read_again_after_a_repeated_call(self) -> None:
        """The server orders tied calls differently in each response, and sends neither header."""
        pages = CallPages(FIRST_END, 5)
        pages.take(make_response(), tied_calls([104, 96, 100, 97, 101]))
        assert next_request(pages) == "since=00:00&per_page=10"
        pages.take(make_response(), tied_calls([104, 96, 100, 97, 101]))
        assert next_page(pages) == 2

        pages.take(make_response(), tied_calls([97, 100, 96]))
        assert next_page(pages) == 1
        pages.take(make_response(), tied_calls([102, 105, 106, 96, 97]))
        assert next_page(pages) == 2
        pages.take(make_response(), tied_calls([104, 100, 101]))

        assert pages.calls_read == 8
        assert next_page(pages) == 1, "a second pass confirms the first"

    def test_run_ends_even_if_passes_never_agree(self) -> None:
        """An existing call changes before each pass."""
        pages = CallPages(FIRST_END, 10)
        passes = 0
        while page := next_page(pages):
            if page == 1:
                passes += 1
                assert passes < 100
            first, *others = tied_calls([1, 2, 3])
            changed = Call(id=first.id, ended_at=first.ended_at, duration_seconds=passes)
            calls = [changed, *others]
            pages.take(make_response(3, link=page < 2), calls[2 * page - 2 : 2 * page])

        # The first pass brings new calls. After the fruitless ones, the next pass is accepted.
        assert passes == 1 + MAX_FRUITLESS_PASSES + 1

    def test_run_ends_even_if_pages_always_repeat_a_call(self) -> None:
        """The last call of each page is also the first call of the next page."""
        pages = CallPages(FIRST_END, 10)
        server = {1: [1, 2, 3], 2: [3, 4, 5], 3: [5]}
        requests_made = 0
        while page := next_page(pages):
            pages.take(make_response(), tied_calls(server.get(page, [])))
            requests_made += 1
            assert requests_made < 200

        assert pages.calls_read == 5
