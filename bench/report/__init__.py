"""Presentation of a run: tables, Markdown, charts."""
