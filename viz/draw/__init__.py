"""Drawing: DOT text, rendering, SVG and legends, without any knowledge of networks."""
