"""Where things go on a picture: circuits, tracks, routed wires."""
