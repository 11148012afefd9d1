"""How a run is shown: tables, Markdown, charts."""
