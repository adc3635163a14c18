"""The demo: a trip planned in one turn, over two worker processes, shown as a waterfall."""
