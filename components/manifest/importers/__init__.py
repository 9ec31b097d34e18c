"""Importers of public data sets: annotation files as published and a folder of videos make a manifest."""

FORMATS = (
    "kinetics",
    "epic-kitchens",
    "something-something",
    "moments-in-time",
    "ucf101",
    "hmdb51",
    "dmvr",
    "folder",
    "table",
)
