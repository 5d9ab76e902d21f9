"""Free slots: on the wall clock of the coach's zone, whatever the clocks do, and never over what is taken."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.models import CoachAvailability
from db.session import tenant_session
from domain.availability import (
    BlockUnusable,
    HoursNotFound,
    HoursUnusable,
    Slot,
    Taken,
    WindowUnusable,
    block_time,
    change_hours,
    cut_slots,
    find_free,
    list_free_slots,
    remove_hours,
)
from domain.people import UnknownTimezone
from tests.factories.people import Organisation
from tests.factories.practice import at, book, give_hours, next_day
from tests.factories.sessions import require_id

ZONES = {
    "Africa/Nairobi": [date(2026, 3, 29)],
    "Europe/Berlin": [date(2026, 3, 29), date(2026, 10, 25)],
    "America/New_York": [date(2026, 3, 8), date(2026, 11, 1)],
    "Australia/Lord_Howe": [date(2026, 4, 5), date(2026, 10, 4)],
    "Pacific/Apia": [date(2011, 12, 30), date(2011, 12, 29), date(2012, 4, 1)],
    "Africa/Cairo": [date(2026, 4, 24), date(2026, 10, 30)],
}
"""Zones and the days on which their clocks are set: by an hour, by half of one, by a whole day, at midnight."""


def make_hours(zone: str = "UTC", day: date | None = None, **values: object) -> CoachAvailability:
    fixed = {
        "day_of_week": (day or date(2026, 3, 30)).isoweekday() % 7, "start_time": time(0), "end_time": time(23, 59),
        "timezone": zone, "effective_from": date(2000, 1, 1), "effective_until": None, "slot_minutes": 60,
        "buffer_minutes": 0, "max_sessions_per_slot": 1, "is_active": True,
    }  # fmt: skip
    return CoachAvailability(id=uuid4(), coach_id=uuid4(), **fixed | values)


def slots_of_day(hours: CoachAvailability, day: date) -> list[Slot]:
    noon = datetime.combine(day, time(12), UTC)
    found = cut_slots(hours, noon - timedelta(hours=40), noon + timedelta(hours=40))
    return [s for s in found if s.starts_at.astimezone(ZoneInfo(hours.timezone)).date() == day]


def wall(slot: Slot, zone: str) -> str:
    return slot.starts_at.astimezone(ZoneInfo(zone)).strftime("%H:%M")


def test_an_hour_that_is_skipped_is_not_offered() -> None:
    berlin = slots_of_day(make_hours("Europe/Berlin", date(2026, 3, 29)), date(2026, 3, 29))
    assert [wall(s, "Europe/Berlin") for s in berlin] == [f"{h:02}:00" for h in range(24) if h != 2]
    half_past = make_hours("America/New_York", date(2026, 3, 8), start_time=time(1, 30), end_time=time(4, 30))
    assert [wall(s, "America/New_York") for s in slots_of_day(half_past, date(2026, 3, 8))] == ["01:30", "03:30"]


def test_an_hour_that_comes_twice_is_offered_once() -> None:
    day = date(2026, 10, 25)
    berlin = slots_of_day(make_hours("Europe/Berlin", day), day)
    assert [wall(s, "Europe/Berlin") for s in berlin] == [f"{h:02}:00" for h in range(24)]
    assert len({s.starts_at for s in berlin}) == 24
    assert berlin[-1].ends_at - berlin[0].starts_at == timedelta(hours=25)
    assert berlin[2].starts_at == datetime(2026, 10, 25, 0, tzinfo=UTC)  # the first 02:00, in summer time
    assert berlin[3].starts_at == datetime(2026, 10, 25, 2, tzinfo=UTC)


def test_half_an_hour_is_skipped_and_repeated() -> None:
    zone = "Australia/Lord_Howe"
    forward = make_hours(zone, date(2026, 10, 4), start_time=time(1), end_time=time(4), slot_minutes=30)
    assert [wall(s, zone) for s in slots_of_day(forward, date(2026, 10, 4))] == [
        "01:00", "01:30", "02:30", "03:00", "03:30",
    ]  # fmt: skip
    back = make_hours(zone, date(2026, 4, 5), start_time=time(1), end_time=time(3), slot_minutes=30)
    slots = slots_of_day(back, date(2026, 4, 5))
    assert [wall(s, zone) for s in slots] == ["01:00", "01:30", "02:00", "02:30"]
    assert slots[2].starts_at - slots[1].ends_at == timedelta(minutes=30)


def test_a_day_that_never_was_has_no_slots() -> None:
    assert slots_of_day(make_hours("Pacific/Apia", date(2011, 12, 30)), date(2011, 12, 30)) == []
    assert len(slots_of_day(make_hours("Pacific/Apia", date(2011, 12, 31)), date(2011, 12, 31))) == 24


def test_hours_hold_on_the_wall_clock_all_year() -> None:
    hours = make_hours("Europe/Berlin", date(2026, 3, 23), start_time=time(9), end_time=time(10))
    found = list(cut_slots(hours, datetime(2026, 3, 20, tzinfo=UTC), datetime(2026, 4, 10, tzinfo=UTC)))
    assert [s.starts_at.hour for s in found] == [8, 7, 7]


def test_hours_hold_from_and_until_their_days() -> None:
    monday = date(2026, 6, 1)
    hours = make_hours(
        "UTC", monday, start_time=time(9), end_time=time(10), effective_from=monday, effective_until=date(2026, 6, 8)
    )
    found = list(cut_slots(hours, datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)))
    assert [s.starts_at.date() for s in found] == [monday, date(2026, 6, 8)]


@st.composite
def calendars(draw: st.DrawFn) -> tuple[CoachAvailability, list[Taken], datetime, datetime]:
    zone = draw(st.sampled_from(sorted(ZONES)))
    day = draw(st.sampled_from(ZONES[zone]))
    opens, closes = sorted(draw(st.lists(st.integers(0, 1439), min_size=2, max_size=2, unique=True)))
    hours = make_hours(
        zone, day, start_time=time(opens // 60, opens % 60), end_time=time(closes // 60, closes % 60),
        slot_minutes=draw(st.integers(10, 200)), buffer_minutes=draw(st.sampled_from((0, 5, 15, 60))),
        max_sessions_per_slot=draw(st.integers(1, 3)),
    )  # fmt: skip
    start = datetime.combine(day, time(), UTC) - timedelta(days=draw(st.integers(0, 9)))
    taken = []
    for _ in range(draw(st.integers(0, 6))):
        begins = datetime.combine(day, time(), UTC) + timedelta(minutes=draw(st.integers(-1440, 2880)))
        taken.append(Taken(begins, begins + timedelta(minutes=draw(st.integers(1, 300))), draw(st.booleans())))
    return hours, taken, start, start + timedelta(days=draw(st.integers(1, 20)))


@given(calendars())
@settings(max_examples=400)
def test_free_slots_keep_every_promise(calendar: tuple[CoachAvailability, list[Taken], datetime, datetime]) -> None:
    hours, taken, start, until = calendar
    zone = ZoneInfo(hours.timezone)
    buffer = timedelta(minutes=hours.buffer_minutes)
    free = find_free([hours], taken, start, until)
    assert free == sorted(free, key=lambda slot: slot.starts_at)
    for earlier, later in pairwise(free):
        assert later.starts_at >= earlier.ends_at + buffer
    for slot in free:
        assert start <= slot.starts_at < until
        assert slot.ends_at - slot.starts_at == timedelta(minutes=hours.slot_minutes)
        moment = slot.starts_at
        while moment < slot.ends_at:
            shown = moment.astimezone(zone)
            assert shown.isoweekday() % 7 == hours.day_of_week
            assert hours.start_time <= shown.time().replace(fold=0)
            assert shown.time() < hours.end_time or hours.end_time == time(23, 59)
            moment += timedelta(minutes=1)
        blocks = [t for t in taken if t.whole and t.starts_at < slot.ends_at and t.ends_at > slot.starts_at]
        assert not blocks
        near = [
            t for t in taken
            if not t.whole and t.starts_at < slot.ends_at + buffer and t.ends_at > slot.starts_at - buffer
        ]  # fmt: skip
        assert slot.left == hours.max_sessions_per_slot - len(near)


@given(calendars())
@settings(max_examples=100)
def test_a_window_cut_in_two_holds_the_same_slots(
    calendar: tuple[CoachAvailability, list[Taken], datetime, datetime],
) -> None:
    hours, taken, start, until = calendar
    middle = start + (until - start) / 3
    whole = find_free([hours], taken, start, until)
    assert find_free([hours], taken, start, middle) + find_free([hours], taken, middle, until) == whole


def test_rules_that_overlap_offer_a_time_once() -> None:
    twins = [make_hours(max_sessions_per_slot=n, start_time=time(9), end_time=time(11)) for n in (1, 2)]
    free = find_free(twins, [], datetime(2026, 3, 30, tzinfo=UTC), datetime(2026, 3, 31, tzinfo=UTC))
    assert [(slot.starts_at.hour, slot.left) for slot in free] == [(9, 2), (10, 2)]


async def test_free_slots_leave_out_blocks_sessions_and_buffers(organisation: Organisation) -> None:
    monday, coach_id = next_day(0), require_id(organisation.coach_a)
    await give_hours(organisation, organisation.coach_a, buffer_minutes=30)
    await book(organisation, at(monday, 10, 30))
    async with tenant_session(organisation.coach_a) as session:
        await block_time(
            session, coach_id=coach_id, start=at(monday, 14, 45), until=at(monday, 15, 1), reason="Dentist"
        )
    async with tenant_session(organisation.system) as session:
        free = await list_free_slots(session, coach_id=coach_id, start=at(monday, 0), until=at(monday, 23))
        with pytest.raises(WindowUnusable):
            await list_free_slots(
                session, coach_id=coach_id, start=at(monday, 0), until=at(monday, 0) + timedelta(days=63)
            )
    assert [(s.starts_at.hour, s.starts_at.minute) for s in free] == [(9, 0), (12, 0), (13, 30)]


async def test_hours_are_their_coach_s(organisation: Organisation) -> None:
    hours = await give_hours(organisation, organisation.coach_a)
    for stranger in (organisation.coach_b, organisation.client_a, organisation.executive):
        with pytest.raises(HoursNotFound):
            async with tenant_session(stranger) as session:
                await change_hours(session, hours.id, {"is_active": False})
        with pytest.raises(HoursNotFound):
            async with tenant_session(stranger) as session:
                await remove_hours(session, hours.id)
    async with tenant_session(organisation.coach_a) as session:
        changed = await change_hours(session, hours.id, {"slot_minutes": 45})
        assert changed.slot_minutes == 45
    async with tenant_session(organisation.admin) as session:
        await remove_hours(session, hours.id)


async def test_unusable_hours_are_refused(organisation: Organisation) -> None:
    with pytest.raises(HoursUnusable):
        await give_hours(organisation, organisation.coach_a, start_time=time(9), end_time=time(9, 30))
    with pytest.raises(HoursUnusable):
        await give_hours(organisation, organisation.coach_a, effective_until=date(2019, 1, 1))
    with pytest.raises(UnknownTimezone):
        await give_hours(organisation, organisation.coach_a, timezone="Mars/Olympus")
    now = datetime.now(UTC)
    with pytest.raises(BlockUnusable):
        async with tenant_session(organisation.coach_a) as session:
            await block_time(session, coach_id=require_id(organisation.coach_a), start=now, until=now)
