"""The demo: filter a photograph, race the algorithms of one layer, show both on a page."""
