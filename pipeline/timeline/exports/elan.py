"""ELAN (EAF 3.0): a tier for each head, a time-aligned annotation for each segment."""

from __future__ import annotations

import datetime
import mimetypes
import os
from pathlib import Path
from xml.etree import ElementTree

from pipeline.timeline.exports.clock import milliseconds
from pipeline.timeline.timeline import Timeline

_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
_TYPE = "segments"


def elan(timeline: Timeline) -> str:
    """The text of a .eaf file."""
    root = ElementTree.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "vivit",
            "DATE": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:noNamespaceSchemaLocation": _SCHEMA,
        },
    )
    header = ElementTree.SubElement(root, "HEADER", {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"})
    ElementTree.SubElement(
        header,
        "MEDIA_DESCRIPTOR",
        {
            "MEDIA_URL": _url(timeline.video),
            "MIME_TYPE": mimetypes.guess_type(timeline.video)[0] or "video/*",
        },
    )
    order = ElementTree.SubElement(root, "TIME_ORDER")
    for head in timeline.heads:
        tier = ElementTree.SubElement(root, "TIER", {"LINGUISTIC_TYPE_REF": _TYPE, "TIER_ID": head.name})
        for one in head.segments:
            slots = [_slot(order, seconds) for seconds in (one.start, one.end)]
            annotation = ElementTree.SubElement(
                ElementTree.SubElement(tier, "ANNOTATION"),
                "ALIGNABLE_ANNOTATION",
                {
                    "ANNOTATION_ID": f"a{len(order) // 2}",
                    "TIME_SLOT_REF1": slots[0],
                    "TIME_SLOT_REF2": slots[1],
                },
            )
            ElementTree.SubElement(annotation, "ANNOTATION_VALUE").text = one.name
    ElementTree.SubElement(
        root,
        "LINGUISTIC_TYPE",
        {"GRAPHIC_REFERENCES": "false", "LINGUISTIC_TYPE_ID": _TYPE, "TIME_ALIGNABLE": "true"},
    )
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _slot(order: ElementTree.Element, seconds: float) -> str:
    name = f"ts{len(order) + 1}"
    ElementTree.SubElement(order, "TIME_SLOT", {"TIME_SLOT_ID": name, "TIME_VALUE": str(milliseconds(seconds))})
    return name


def _url(video: str) -> str:
    return video if "://" in video else Path(os.path.abspath(video)).as_uri()
