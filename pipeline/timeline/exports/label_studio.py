"""Label Studio: a task with predictions, a region of TimelineLabels for each segment."""

from __future__ import annotations

import json

from pipeline.timeline.timeline import Timeline

# The name of the <Video> tag in the labelling configuration; that of each <TimelineLabels> is its head's.
_VIDEO = "video"


def label_studio(timeline: Timeline) -> str:
    """The text of a .json file to import.

    Ranges are frames at the rate of the timeline, counted from 1, and include the last one: `fps` is in the task's data
    for ``<Video name="video" value="$video" framerate="$fps"/>``.
    """
    result = [
        {
            "id": f"{head.name}-{number}",
            "from_name": head.name,
            "to_name": _VIDEO,
            "type": "timelinelabels",
            "value": {
                "ranges": [{"start": round(one.start * timeline.fps) + 1, "end": round(one.end * timeline.fps)}],
                "timelinelabels": [one.name],
            },
            "score": round(one.score, 4),
        }
        for head in timeline.heads
        for number, one in enumerate(head.segments, start=1)
    ]
    data = {"video": timeline.video, "fps": timeline.fps}
    task = {"data": data, "predictions": [{"model_version": timeline.model, "result": result}]}
    return json.dumps([task], ensure_ascii=False, indent=1) + "\n"
