"""How long a person waits, step by step, on the tiny model and on SmolLM2-135M: the table in the README.

Each step is timed once, one after the other in a process of its own for each model: as a person meets it first.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

PROMPT = "When Mary and John went to the store, John gave a drink to"
OTHER = "When Mary and John went to the store, Mary gave a drink to"


def steps(name: str) -> dict[str, float]:
    """Time the steps in this process."""
    began, found = time.perf_counter(), {}

    def lap(step: str) -> None:
        nonlocal began
        found[step] = time.perf_counter() - began
        began = time.perf_counter()

    import resid_widgets as rw
    from resid_widgets.widgets.shell import cells

    cells.attended = lambda: True
    model = rw.load_model(name or None, progress=False) if name else rw.load_model(progress=False)
    lap("import the package and load the model")
    rw.ActivationHeatmap(rw.run(model, PROMPT))
    lap("the first heat map")
    widget = rw.PatchingHeatmap(model, PROMPT, OTHER, rw.logit_diff(" Mary", " John"))
    lap("the first patching heat map: on the page")
    _ = widget.result
    lap("the first patching heat map: filled")
    other = rw.PatchingHeatmap(model, PROMPT, OTHER, rw.logit_diff(" Mary", " John"))
    _ = other.result
    lap("another one")
    cells.attended = lambda: False  # no preview beside the clicks: on a page it makes way for them
    explorer = rw.AblationExplorer(rw.run(model, PROMPT), rw.logit_diff(" Mary", " John"))
    explorer.interventions = [rw.mean(rw.Site("resid_post", 1, 4))]
    began = time.perf_counter()
    explorer.interventions = [rw.mean(rw.Site("resid_post", 1, 5))]
    lap("a click in an explorer")
    cells.attended = lambda: True
    curves = rw.ProbeCurves(model, "agreement")
    lap("probe curves of 200 prompts: on the page")
    _ = curves.result
    lap("probe curves of 200 prompts: all layers")
    return found


def main() -> None:
    """Print a table."""
    models = {"tiny": "", "SmolLM2-135M": "smollm2-135m"}
    if len(sys.argv) > 1:
        print(json.dumps(steps(sys.argv[1] if sys.argv[1] != "tiny" else "")))
        return
    columns = {}
    for label, name in models.items():
        done = subprocess.run([sys.executable, __file__, name or "tiny"], capture_output=True, text=True, check=False)
        columns[label] = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}
        if done.returncode:
            print(f"{label}: not measured ({done.stderr.strip().splitlines()[-1]})")
    for step in columns["tiny"]:
        print(f"| {step} | " + " | ".join(f"{of[step]:.2g} s" if step in of else "" for of in columns.values()) + " |")


if __name__ == "__main__":
    main()
