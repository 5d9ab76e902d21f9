"""Billing periods by the calendar: a month after 31 January is the last day of February."""

import calendar
from datetime import datetime


def add_months(moment: datetime, months: int, *, day: int | None = None) -> datetime:
    """Return the same time of day so many months later, on `day` (the moment's own by default) or the month's last.

    Periods that began on the 31st give 28 February and then 31 March again where `day` is kept at 31.
    """
    index = moment.year * 12 + moment.month - 1 + months
    year, month = divmod(index, 12)
    month += 1
    return moment.replace(year=year, month=month, day=min(day or moment.day, calendar.monthrange(year, month)[1]))


def find_period_end(start: datetime, cycle: str, *, day: int | None = None) -> datetime:
    """Return when a period of this billing cycle ends; `day` is the day of the month the first one began on."""
    return add_months(start, {"monthly": 1, "annual": 12}[cycle], day=day)
