"""Times as subtitles and annotations write them: whole milliseconds."""

from __future__ import annotations


def milliseconds(seconds: float) -> int:
    """The nearest one."""
    return round(1000 * seconds)


def clock(seconds: float, point: str = ".") -> str:
    """``hh:mm:ss.mmm``; hours have more digits where they need them."""
    total, thousandths = divmod(milliseconds(seconds), 1000)
    minutes, second = divmod(total, 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{second:02d}{point}{thousandths:03d}"
