"""Long videos in no time, and what it costs to decode one."""

from __future__ import annotations

import av


def repeat_video(part: str, path: str, *, times: int, seconds: int) -> None:
    """Writes the packets of a video, `seconds` long, several times, without encoding them again."""
    with av.open(path, "w") as long:
        copy = None
        for number in range(times):
            with av.open(part) as source:
                stream = source.streams.video[0]
                copy = copy or long.add_stream_from_template(stream)
                shift = round(number * seconds / stream.time_base)
                for packet in source.demux(stream):
                    if packet.dts is not None:
                        packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, copy
                        long.mux(packet)


def decode(video: str) -> None:
    """Decodes a video from end to end, on one thread."""
    with av.open(video) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for _ in container.decode(video=0):
            pass
