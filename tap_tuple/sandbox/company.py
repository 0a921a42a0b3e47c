"""A fictional company and the calls of its people, who pair-program with Tuple.

Its calls depend only on a seed and the clock. Nothing is saved to disk: each UTC day is generated
separately, so a day always has the same calls, in any process and on any machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate, count
from operator import attrgetter, itemgetter
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

Call: TypeAlias = dict[str, Any]
"""A completed call in the usage API's JSON, including its `call_participations`."""

DEFAULT_SEED = 1
ONE_YEAR = timedelta(days=365)

# Lengths and times of day (UTC, unless called local) are whole milliseconds, the precision of the
# API's timestamps.
SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

# Ids reserved for each day since the year 1. They fit into 32 bits until 2900.
CALL_IDS_A_DAY = 1000
PARTICIPATION_IDS_A_DAY = 2000

# Weeks are counted from this Monday. People start and leave on Mondays, and take whole weeks off.
FOUNDED = date(2020, 1, 6)
TENURE_WEEKS = (104, 520)
WEEKS_BETWEEN_HOLIDAYS = (17, 26)
HOLIDAY_WEEKS = (1, 2)
# How long newcomers make only solo calls, in days from their first Monday.
DAYS_ALONE = (0, 0, 1, 2, 3, 4, 7, 9)

# How likely people are to take part in a call.
KEENNESS = (0.6, 1.0)
LOW_KEENNESS = 0.03
LOW_KEENNESS_SHARE = 0.07  # share of the people
CALLS_ON_A_BUSY_DAY = 3  # started by the most active person

# The share of people at work on each day, from Monday to Sunday, and in quiet weeks. People on
# vacation don't count.
AT_WORK = (0.95, 0.97, 0.97, 0.96, 0.88, 0.12, 0.08)
AT_WORK_AT_CHRISTMAS = 0.2
AT_WORK_IN_AUGUST = 0.6
CHRISTMAS = ((12, 22), (1, 2))  # first and last (month, day)
AUGUST_HOLIDAYS = ((8, 6), (8, 21))
MONDAY = 0

# Local hours in which calls start, and the share of each hour, with a dip at lunch.
OPENING, CLOSING = 8 * HOUR, 19 * HOUR
START_HOURS = range(OPENING, CLOSING, HOUR)
START_HOUR_SHARES = (3, 9, 13, 11, 4, 6, 12, 12, 9, 4, 1)
PLANNING_START = (9 * HOUR - 1 * MINUTE, 9 * HOUR + 4 * MINUTE)  # local, on Mondays
PLANNING_LENGTH = (35 * MINUTE, 70 * MINUTE)

SIZES = (1, 2, 3, 4, 5, 6)  # solo, a pair, a mob
SIZE_SHARES = (6, 79, 7, 4, 3, 1)

LENGTHS = (
    (4 * SECOND, 58 * SECOND),
    (1 * MINUTE, 15 * MINUTE),
    (15 * MINUTE, 60 * MINUTE),
    (60 * MINUTE, 120 * MINUTE),
    (120 * MINUTE, 180 * MINUTE),
)
LENGTH_SHARES = (5, 20, 45, 25, 5)
LENGTH_SHARES_ALONE = (40, 60, 0, 0, 0)

# Weights for choosing whom a caller invites, and the number of choices per guest.
FAVORITE = 10.0
TEAMMATE = 1.0
OTHER_TEAM = 0.05
PICKS_FOR_A_GUEST = 4

JOINS_WITHIN = 3 * MINUTE  # of the call's start
LEAVES_WITHIN = 20 * SECOND  # of the call's end
LEAVES_EARLY = 0.08  # share of the participants who leave at any time in the second half
DROPS_OUT = 0.03  # share of the longer stays in which somebody drops out and rejoins
DROPS_OUT_FROM = 10 * MINUTE  # long enough for the rest of the stay to outlast the break
DROPS_OUT_AT = (0.2, 0.7)  # of the stay
REJOINS_AFTER = (5 * SECOND, 2 * MINUTE)

# The API's documentation doesn't rule these out, so clients have to handle them.
DELETED_ACCOUNT = 1 / 500  # share of the participations
LOST_CONNECTION = 1 / 300  # share of the participations
NOBODY_RECORDED = 1 / 1500  # share of the calls


class Team(NamedTuple):
    """A team's size and location."""

    seats: int
    utc_offset: int  # hours, the same all year


# From Europe to the US West Coast, so that most of everyone's working day falls into one UTC day.
# Calls that would run past midnight UTC don't happen.
TEAMS = (
    *(Team(seats, utc_offset=2) for seats in (7, 6, 8, 5)),
    *(Team(seats, utc_offset=-4) for seats in (9, 7, 6)),
    *(Team(seats, utc_offset=-7) for seats in (7, 6)),
)
SEATS = sum(team.seats for team in TEAMS)

EMAIL_DOMAIN = "lumen.example"

# 64 and 63 have no common factor: stepping through both gives 64 * 63 people, then repeats.
FIRST_NAMES = (
    "Ada", "Aisha", "Alejandro", "Amara", "Anders", "Anna", "Ben", "Bianca", "Bruno", "Camille",
    "Carlos", "Chen", "Chloe", "Dalia", "Daniel", "Diego", "Elena", "Elif", "Emeka", "Emma",
    "Erik", "Esther", "Farah", "Felix", "Fiona", "Gabriel", "Grace", "Hana", "Hugo", "Ines",
    "Ingrid", "Ivan", "Jamal", "Jonas", "Julia", "Kaito", "Karim", "Katya", "Kwame", "Lars",
    "Leila", "Liam", "Lucia", "Malik", "Marek", "Maya", "Mei", "Mateo", "Nadia", "Nia", "Noah",
    "Olga", "Omar", "Oscar", "Priya", "Ravi", "Rosa", "Samir", "Sara", "Sofia", "Tomas", "Wei",
    "Yara", "Zoe",
)  # fmt: skip
LAST_NAMES = (
    "Abebe", "Adler", "Almeida", "Andersson", "Bakker", "Banerjee", "Barros", "Becker", "Bianchi",
    "Brandt", "Campbell", "Castillo", "Chang", "Cohen", "Costa", "Dang", "Delgado", "Diallo",
    "Dubois", "Eriksen", "Farouk", "Fischer", "Flores", "Fontaine", "Garcia", "Ghosh", "Haddad",
    "Hansen", "Hughes", "Ibrahim", "Ito", "Jansen", "Johnson", "Kamara", "Kaplan", "Kaya",
    "Keller", "Khan", "Kim", "Kowalski", "Lambert", "Larsen", "Lindqvist", "Lopez", "Marino",
    "Mensah", "Moreau", "Nakamura", "Nguyen", "Novak", "Okafor", "Olsen", "Ortiz", "Patel",
    "Pereira", "Petrov", "Quinn", "Rossi", "Santos", "Schmidt", "Singh", "Tanaka", "Walsh",
)  # fmt: skip


@dataclass(frozen=True, eq=False, kw_only=True)
class Seat:
    """A place in a team. Whoever takes it over has the same habits as the person before."""

    number: int
    team: int
    keenness: float
    tenure_weeks: int
    weeks_between_holidays: int
    holiday_weeks: int
    phase: int  # weeks; staggers the tenures and vacations of different seats

    def holder(self, week: int) -> int:
        """Return the number of the person who holds the seat in the given week."""
        return (week + self.phase) // self.tenure_weeks * SEATS + self.number

    def weeks_held(self, week: int) -> int:
        """Return how many weeks the holder has had the seat."""
        return (week + self.phase) % self.tenure_weeks

    def is_on_holiday(self, week: int) -> bool:
        """Return whether the holder is away all week."""
        return (week + self.phase) % self.weeks_between_holidays < self.holiday_weeks

    def utc(self, local_time: int) -> int:
        """Convert a local time of day to milliseconds of the UTC day."""
        return local_time - TEAMS[self.team].utc_offset * HOUR

    def closeness(self, other: Seat) -> float:
        """Return how readily the holder invites another seat's holder. Neighbors are favorites."""
        if other is self:
            return 0.0
        if other.team != self.team:
            return OTHER_TEAM * other.keenness
        is_neighbor = abs(other.number - self.number) == 1
        return (FAVORITE if is_neighbor else TEAMMATE) * other.keenness


class Plan(NamedTuple):
    """A call that someone wants to start.

    It happens only if the caller is free and, unless it's a solo call, at least one guest is, too.
    `size` is the intended number of people, including the caller. More people may be invited.
    """

    start: int
    end: int
    caller: Seat
    invited: list[Seat]
    size: int


class Stay(NamedTuple):
    """The time that someone spends in a call."""

    joined: int
    left: int
    seat: Seat


class Company:
    """Teams in three time zones, and their calls.

    The same seed gives the same company. It caches generated days while they are part of its
    history, and returns the same objects again, so treat calls as read-only.
    """

    def __init__(self, seed: int = DEFAULT_SEED, *, history: timedelta = ONE_YEAR) -> None:
        """Create the company.

        Args:
            seed: Selects the company.
            history: How far back its calls go.
        """
        self._seed = seed
        self._history = history
        self._days: dict[date, list[Call]] = {}

        rng = self._rng("company")
        self._first_names = rng.sample(FIRST_NAMES, k=len(FIRST_NAMES))
        self._last_names = rng.sample(LAST_NAMES, k=len(LAST_NAMES))
        self._seats = _seats(rng)
        self._closeness = {
            seat: list(accumulate(map(seat.closeness, self._seats))) for seat in self._seats
        }

    def calls(self, now: datetime) -> list[Call]:
        """Return the calls completed so far, in the order and format of the usage API.

        Args:
            now: The current time, with a time zone.

        Returns:
            Every call that ended before `now` and started on a UTC day within the history, sorted
            by `ended_at`, then `id`.
        """
        now = now.astimezone(UTC)
        today, first_day = now.date(), (now - self._history).date()
        history = [first_day + timedelta(days=n) for n in range((today - first_day).days + 1)]
        # A day without calls is generated again each time. There are few, and it's cheap.
        days = {day: self._days.get(day) or self._calls_of(day) for day in history}
        self._days = days
        return [
            call
            for day, calls in days.items()
            for call in calls
            if day < today or datetime.fromisoformat(call["ended_at"]) < now
        ]

    def _rng(self, subject: str) -> Random:
        """Return a random number generator that depends only on the seed and the subject."""
        return Random(f"{self._seed}:{subject}")  # noqa: S311 - a simulation, nothing secret

    def _calls_of(self, day: date) -> list[Call]:
        """Return all calls that start on a UTC day, including future ones, in the API's order."""
        rng = self._rng(day.isoformat())
        week = (day - FOUNDED).days // 7
        share = _share_at_work(day)
        at_work = [s for s in self._seats if rng.random() < share and not s.is_on_holiday(week)]
        solo = {seat for seat in at_work if self._is_alone(seat, week, day.weekday())}
        plans = [*self._plans(rng, at_work, solo)]
        if day.weekday() == MONDAY:
            plans += _planning_meetings(rng, [seat for seat in at_work if seat not in solo])

        free_from = {seat: seat.utc(OPENING) for seat in at_work}
        call_ids = count(day.toordinal() * CALL_IDS_A_DAY)
        participation_ids = count(day.toordinal() * PARTICIPATION_IDS_A_DAY)
        calls = []
        for plan in sorted(plans, key=attrgetter("start")):
            party = _party(plan, free_from)
            free_from.update(dict.fromkeys(party, plan.end))
            if not party:
                continue
            call = {
                "id": next(call_ids),
                "started_at": _timestamp(day, plan.start),
                "ended_at": _timestamp(day, plan.end),
                "duration_seconds": (plan.end - plan.start) // SECOND,
                "call_participations": [
                    {
                        "id": next(participation_ids),
                        "joined_at": _timestamp(day, stay.joined),
                        "left_at": _timestamp(day, stay.left),
                        "user": {"email": self._email(stay.seat.holder(week))},
                    }
                    for stay in _stays(rng, plan, party)
                ],
            }
            _leave_gaps(rng, call)
            calls.append(call)
        return sorted(calls, key=itemgetter("ended_at", "id"))

    def _is_alone(self, seat: Seat, week: int, weekday: int) -> bool:
        """Return whether the holder of a seat is too new to have paired."""
        days = seat.weeks_held(week) * 7 + weekday
        # The first comparison usually settles it, without a generator.
        return days < max(DAYS_ALONE) and days < self._rng(f"person {seat.holder(week)}").choice(
            DAYS_ALONE
        )

    def _plans(self, rng: Random, at_work: list[Seat], solo: set[Seat]) -> Iterator[Plan]:
        """Yield the calls that people want to start on a day."""
        for caller in at_work:
            calls = CALLS_ON_A_BUSY_DAY * caller.keenness * rng.random()
            for _ in range(int(calls + rng.random())):
                (hour,) = rng.choices(START_HOURS, START_HOUR_SHARES)
                (size,) = rng.choices(SIZES, SIZE_SHARES) if caller not in solo else (1,)
                (length,) = rng.choices(LENGTHS, LENGTH_SHARES if size > 1 else LENGTH_SHARES_ALONE)
                start = caller.utc(hour) + int(rng.random() * HOUR)
                end = start + int(rng.uniform(*length))
                invited = rng.choices(
                    self._seats,
                    cum_weights=self._closeness[caller],
                    k=PICKS_FOR_A_GUEST * (size - 1),
                )
                guests = [seat for seat in dict.fromkeys(invited) if seat not in solo]
                yield Plan(start, end, caller, guests, size)

    def _email(self, person: int) -> str:
        first = self._first_names[person % len(FIRST_NAMES)]
        last = self._last_names[person % len(LAST_NAMES)]
        return f"{first}.{last}@{EMAIL_DOMAIN}".lower()


def _seats(rng: Random) -> list[Seat]:
    """Return all seats of a company, team by team."""
    teams = [number for number, team in enumerate(TEAMS) for _ in range(team.seats)]
    return [
        Seat(
            number=number,
            team=team,
            keenness=LOW_KEENNESS if rng.random() < LOW_KEENNESS_SHARE else rng.uniform(*KEENNESS),
            tenure_weeks=rng.randint(*TENURE_WEEKS),
            weeks_between_holidays=rng.randint(*WEEKS_BETWEEN_HOLIDAYS),
            holiday_weeks=rng.randint(*HOLIDAY_WEEKS),
            phase=rng.randrange(TENURE_WEEKS[0]),
        )
        for number, team in enumerate(teams)
    ]


def _share_at_work(day: date) -> float:
    """Return the share of people (not counting those on vacation) who work on a day."""
    share = AT_WORK[day.weekday()]
    month_day = (day.month, day.day)
    if month_day >= CHRISTMAS[0] or month_day <= CHRISTMAS[1]:
        return min(share, AT_WORK_AT_CHRISTMAS)
    if AUGUST_HOLIDAYS[0] <= month_day <= AUGUST_HOLIDAYS[1]:
        return min(share, AT_WORK_IN_AUGUST)
    return share


def _planning_meetings(rng: Random, at_work: list[Seat]) -> Iterator[Plan]:
    """Yield each team's weekly planning meeting."""
    for team in range(len(TEAMS)):
        members = [s for s in at_work if s.team == team and rng.random() < s.keenness]
        if len(members) > 1:
            caller, *invited = rng.sample(members, k=len(members))
            start = caller.utc(int(rng.uniform(*PLANNING_START)))
            end = start + int(rng.uniform(*PLANNING_LENGTH))
            yield Plan(start, end, caller, invited, len(members))


def _party(plan: Plan, free_from: dict[Seat, int]) -> list[Seat]:
    """Return who joins a planned call, the caller first. Empty if it doesn't happen."""

    def is_free(seat: Seat) -> bool:
        return free_from.get(seat, DAY) <= plan.start < seat.utc(CLOSING)

    guests = [seat for seat in plan.invited if is_free(seat)][: plan.size - 1]
    nobody_comes = plan.size > 1 and not guests
    # No call runs past midnight UTC, so each day can be generated separately.
    if nobody_comes or not is_free(plan.caller) or plan.end >= DAY:
        return []
    return [plan.caller, *guests]


def _stays(rng: Random, plan: Plan, party: list[Seat]) -> list[Stay]:
    """Return when each person is in the call: the caller from its start, someone until its end."""
    # At most a third of the length, so nobody leaves a short call before joining it.
    length = plan.end - plan.start
    joins_within = min(JOINS_WITHIN, length / 3)
    leaves_within = min(LEAVES_WITHIN, length / 3)

    last = rng.choice(party)
    stays = []
    for seat in party:
        joined, left = plan.start, plan.end
        if seat is not plan.caller:
            joined += int(rng.random() * joins_within)
        if seat is not last:
            leaves_early = rng.random() < LEAVES_EARLY
            left -= int(rng.random() * (length / 2 if leaves_early else leaves_within))
        if len(party) > 1 and left - joined >= DROPS_OUT_FROM and rng.random() < DROPS_OUT:
            dropped_out = joined + int((left - joined) * rng.uniform(*DROPS_OUT_AT))
            stays.append(Stay(joined, dropped_out, seat))
            joined = dropped_out + int(rng.uniform(*REJOINS_AFTER))
        stays.append(Stay(joined, left, seat))
    return sorted(stays, key=attrgetter("joined"))


def _leave_gaps(rng: Random, call: Call) -> None:
    """Sometimes remove data that the API's documentation doesn't guarantee."""
    for participation in call["call_participations"]:
        if rng.random() < DELETED_ACCOUNT:
            participation["user"] = rng.choice([None, {"email": None}])
        if rng.random() < LOST_CONNECTION:
            participation["left_at"] = None
    if rng.random() < NOBODY_RECORDED:
        call["call_participations"] = []


def _timestamp(day: date, time: int) -> str:
    """Format a day and a time (in milliseconds since midnight UTC) as the API does."""
    minutes, milliseconds = divmod(time, MINUTE)
    return (
        f"{day}T{minutes // 60:02}:{minutes % 60:02}"
        f":{milliseconds // SECOND:02}.{milliseconds % SECOND:03}Z"
    )
