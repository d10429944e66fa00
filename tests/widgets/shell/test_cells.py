"""What becomes of widgets outside an IPython kernel."""

from __future__ import annotations

import gc
import weakref

import resid_widgets as rw


def test_a_widget_whose_comm_the_host_has_closed_lives_as_long_as_somebody_refers_to_it(llama_run):
    """As in marimo, which closes the comms of a cell that runs again."""
    dropped, kept = rw.ActivationHeatmap(llama_run), rw.ActivationHeatmap(llama_run)
    gone = weakref.ref(dropped)
    for widget in (dropped, kept):
        widget.comm._closed = True
    del dropped, widget
    new = rw.ActivationHeatmap(llama_run)
    gc.collect()
    assert gone() is None
    assert kept.result is not None and not kept.closed and not new.closed
