"""How a picture is put on paper: DOT text, rendering, SVG, legends. Knows no network."""
