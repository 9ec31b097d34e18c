"""The detection results that ActivityNet's evaluation reads."""

from __future__ import annotations

import json
import os

from pipeline.timeline.timeline import Timeline, labelled


def activitynet(timeline: Timeline) -> str:
    """The text of a .json file; the id of the video is its file name without the suffix."""
    video = os.path.splitext(os.path.basename(timeline.video))[0]
    results = [
        {"label": text, "score": round(one.score, 4), "segment": [round(one.start, 6), round(one.end, 6)]}
        for text, one in labelled(timeline)
    ]
    document = {"version": "VERSION 1.3", "results": {video: results}, "external_data": {"used": False, "details": ""}}
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"
