"""Write docs/architectures.md: what holds for each family of models, measured now."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("HF_HUB_OFFLINE", "1")

HEADER = """# Architectures

Tiny random models of each family, built offline from transformers configs and measured by
`scripts/architectures.py` (`make docs`). A dash means that the site does not exist; a cross that
a write there is refused by name, for the reason given below the table; "in 0, 2" that this holds for layers
0 and 2 only, where layers are not alike (each model here has four, but for those of one and two).

Windows are four tokens long here, and every prompt is longer. A name of several words is a configuration of the family
that is its first word; what is refused as a whole has a line below the table only.

- **logits**: largest difference from Hugging Face's own model, relative to the largest logit.
- **adds up**: largest relative gap of the residual identity and of the last-layer lens.
- **reuse**: whether edited runs are computed by exact reuse, proved against full passes on a prompt longer than each
  window; otherwise by full passes, for the reason given below.
- The other columns are the sites whose writes were compared with plain PyTorch hooks on an un-bridged copy, in every
  kind of layer that the model has.

"""


def main() -> None:
    """Measure every family and write the table."""
    from importlib.metadata import version

    import torch

    from resid_widgets.errors import UnsupportedModelError
    from resid_widgets.models.forward import forward
    from resid_widgets.models.layers.writes import write_matrix
    from resid_widgets.models.loading.load_model import load_model
    from resid_widgets.models.reuse.engine import engine_of
    from resid_widgets.models.runs.run import run
    from resid_widgets.models.structure import relative_gap, structure_of
    from resid_widgets.sites import COMPONENTS
    from tests.architectures import ALL, build

    ids = [5, 9, 33, 2, 8, 60, 7, 7, 41, 12, 80, 3]
    rows, reasons = [], []
    for family in ALL:
        print(family, file=sys.stderr, flush=True)
        plain = build(family)
        try:
            model = load_model((plain, None))
        except UnsupportedModelError as error:
            reasons.append(f"- **{family}** is refused: {error}")
            continue
        with torch.no_grad():
            expected = plain(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
        gap = relative_gap(forward(model, ids, last_only=False), expected)
        cells = []
        for component, outcomes in write_matrix(model, plain).items():
            missing = component == "resid_mid" and structure_of(model).parallel
            works = sorted(layer for group, outcome in outcomes.items() if outcome.works for layer in group)
            some = "in " + ", ".join(map(str, works)) if works else "–" if missing else "✗"
            cells.append("yes" if len(works) == model.n_layers else some)
            told: dict[str, list[int]] = {}
            for group, outcome in outcomes.items():
                if not outcome.works and not missing:
                    told.setdefault(outcome.reason, []).extend(group)
            for reason, layers in told.items():
                where = "" if len(layers) == model.n_layers else f" in {', '.join(map(str, sorted(layers)))}"
                reasons.append(f"- **{family}**, {component}{where}: {reason}.")
        reuse = engine_of(run(model, ids), {"resid_pre", "attn_out", "mlp_out"}).check
        if reuse.level != "green":
            reasons.append(f"- **{family}**: {reuse.text}.")
        facts = [f"{gap:.0e}", f"{structure_of(model).gap:.0e}", "exact" if reuse.level == "green" else "full passes"]
        rows.append(f"| {' | '.join([family, *facts, *cells])} |")
    versions = ", ".join(f"{p} {version(p)}" for p in ("transformer-lens", "transformers", "torch"))
    head = ["family", "logits", "adds up", "reuse", *COMPONENTS]
    table = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *rows]
    text = HEADER + "\n".join(table) + "\n\n## Refused\n\n" + "\n".join(reasons) + f"\n\nMeasured with {versions}.\n"
    docs = ROOT / "docs"
    docs.mkdir(exist_ok=True)
    (docs / "architectures.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
