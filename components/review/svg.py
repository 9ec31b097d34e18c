"""Plots of matplotlib as inline SVG: in the page's font and colours, of any width, without a style attribute.

A page whose content security policy allows its own style sheet alone ignores style attributes, so they become SVG
attributes, and colours become classes. A figure uses the colours of `COLOURS` only.
"""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

import matplotlib
from matplotlib.figure import Figure

# Colours that stand for a class of the page's style sheet; matplotlib itself shows none of them.
COLOURS = {"ink": "#000001", "dim": "#000002", "line": "#000003", "ours": "#000004", "theirs": "#000005"}
POINTS_PER_INCH = 72

_SVG = "http://www.w3.org/2000/svg"
_HREF = "{http://www.w3.org/1999/xlink}href"
_CLASSES = {colour: name for name, colour in COLOURS.items()}
_FONT_SIZE = re.compile(r"([\d.]+)px")
_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "vivit",
    "font.size": 10.0,
    "text.color": COLOURS["ink"],
    "axes.labelcolor": COLOURS["ink"],
    "axes.edgecolor": COLOURS["dim"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": COLOURS["dim"],
    "ytick.color": COLOURS["dim"],
    "grid.color": COLOURS["line"],
    "grid.linewidth": 0.6,
    # Names are text, never formulas.
    "text.parse_math": False,
}


def settings():
    """Context in which figures are made and drawn, with the colours of the page."""
    return matplotlib.rc_context(_SETTINGS)


def inline_svg(figure: Figure, name: str, description: str) -> str:
    """SVG of a figure for inside of an HTML page.

    Args:
      figure: Made within `settings`.
      name: Begins every id of the plot; one of its own for each plot of a page, of letters, digits and hyphens.
      description: Text alternative.

    Raises:
      ValueError: If the figure has a colour that is not one of `COLOURS`, which dark mode could hide.
    """
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(text.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.rpartition("}")[2] in ("metadata", "style"):
                parent.remove(child)
    referred = {value for element in root.iter() for value in _references(element)}
    for element in root.iter():
        _restyle(element)
        if element.get("id") in referred:
            element.set("id", f"{name}-{element.get('id')}")
        else:
            element.attrib.pop("id", None)
        if reference := element.attrib.pop(_HREF, ""):
            element.set("href", f"#{name}-{reference[1:]}")
        if clip := element.get("clip-path"):
            element.set("clip-path", clip.replace("url(#", f"url(#{name}-"))
    del root.attrib["width"], root.attrib["height"]
    root.attrib.update({"id": name, "role": "img", "aria-label": description, "class": "plot"})
    ElementTree.register_namespace("", _SVG)
    return ElementTree.tostring(root, encoding="unicode")


def _references(element: ElementTree.Element) -> list[str]:
    clip = re.findall(r"url\(#(.+?)\)", element.get("clip-path", ""))
    return [*clip, *([element.get(_HREF)[1:]] if element.get(_HREF) else [])]


def _restyle(element: ElementTree.Element) -> None:
    """Makes attributes of the style attribute, and classes of its colours."""
    properties = dict(part.split(":", 1) for part in element.attrib.pop("style", "").split(";") if ":" in part)
    properties = {name.strip(): value.strip() for name, value in properties.items()}
    if element.tag == f"{{{_SVG}}}text":
        # Drawn in black unless said otherwise; the class says it.
        properties.setdefault("fill", COLOURS["ink"])
    properties.pop("font-family", None)
    if font := properties.pop("font", ""):
        properties["font-size"] = _FONT_SIZE.search(font).group(1)
    classes = []
    for name, value in properties.items():
        if name in ("fill", "stroke") and value != "none":
            if value not in _CLASSES:
                raise ValueError(f"a plot has the {name} {value}, which is no colour of the page")
            classes.append(f"{name}-{_CLASSES[value]}")
        else:
            element.set(name, value)
    if classes:
        element.set("class", " ".join(classes))
