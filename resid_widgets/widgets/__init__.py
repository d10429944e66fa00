"""One file a widget: traits and thin glue. What a widget shows, a function of `analysis` returned."""
