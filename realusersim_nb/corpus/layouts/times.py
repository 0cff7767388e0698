"""Times of messages in whatever form a file has them, and the order that they give."""

import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

SLASHED = re.compile(r"\s*(\d{1,2})([/.-])(\d{1,2})\2\d{2,4}\b")  # a date that begins with day or month


def read_times(turns: list[dict], time: str | None) -> list[np.ndarray] | None:
    """The times of all turns, in seconds, in each way that they can be read; NaN for one that cannot.

    Of 03/02/2024 there are two, unless another date of them has a day above 12. Numbers are seconds, or the
    thousandth to billionth part of one, each by its size.
    """
    if time is None:
        return None
    values = pd.Series([str(turn.get(time)).strip() for turn in turns])
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    sizes = np.digitize(numbers.abs(), [1e11, 1e14, 1e17])  # the year 5138 in seconds, 1973 in thousandths
    texts = values[numbers.isna()]
    readings = []
    for day_first in list_day_orders(texts) if len(texts) else [False]:
        dates = pd.to_datetime(texts, errors="coerce", format="mixed", utc=True, dayfirst=day_first)
        seconds = (dates - pd.Timestamp(0, tz="UTC")).dt.total_seconds()
        readings.append((numbers / 1000.0**sizes).fillna(seconds).to_numpy())
    return readings


def list_day_orders(texts: Iterable[str]) -> list[bool]:
    """Whether the day may come first in such dates: one answer, two if it stays open, none if they differ."""
    dates = [match.groups() for match in map(SLASHED.match, texts) if match]
    day_first = any(int(first) > 12 or mark == "." for first, mark, _ in dates)
    month_first = any(int(second) > 12 for _, _, second in dates)
    if day_first or month_first:
        return [day_first] * (day_first != month_first)
    return [False, True] if dates else [False]


def sort_by_time(turns: list[dict], times: list[np.ndarray] | None) -> list[dict] | None:
    """The turns in the order on which all readings of their times agree; None if there is no such order."""
    if times is None or len(turns) < 2:
        return turns
    orders = {tuple(reading.argsort(kind="stable")) for reading in times}
    is_clear = len(orders) == 1 and not any(np.isnan(reading).any() for reading in times)
    return [turns[i] for i in orders.pop()] if is_clear else None
