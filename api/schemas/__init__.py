"""What goes over the wire, one file per area, each field described."""
