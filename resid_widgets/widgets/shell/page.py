"""One self-contained page: a widget's front-end with its data, and a host for them that needs no kernel and no network.

What the page holds is described in ``js/README.md``, "Exported page".
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resid_widgets.widgets.shell.front_end import STATIC, built, front_end

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src '{digest}' blob:; \
style-src 'unsafe-inline'; img-src data: blob:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
<div id="rw-root"></div>
<noscript>This picture needs JavaScript, from this page alone: nothing is loaded from a network.</noscript>
<script id="rw-state" type="application/json">{state}</script>
<script id="rw-esm" type="application/json">{esm}</script>
<script>{host}</script>
</body>
</html>
"""
_BODY_STYLE = "body { margin: 12px; }"


def page(name: str, title: str, traits: Mapping[str, Any]) -> str:
    """Return a page that shows a widget as it is.

    Parameters
    ----------
    name
        Of the front-end, see `resid_widgets.widgets.shell.front_end`.
    title
        Plain text.
    traits
        The model's state; bytes stay bytes.

    Raises
    ------
    FileNotFoundError
        If the front-end is not built; says how to build it.
    """
    host = built(STATIC / "host.js").replace("</script", "<\\/script")
    script, style = front_end(name)
    digest = base64.b64encode(hashlib.sha256(host.encode("utf-8")).digest()).decode("ascii")
    return _PAGE.format(
        digest=f"sha256-{digest}",
        title=html.escape(title),
        style=f"{_BODY_STYLE}\n{style}".replace("</style", "<\\/style"),
        state=embedded(_with_text(traits)),
        esm=embedded(script),
        host=host,
    )


def embedded(value: Any) -> str:
    """Return JSON that can stand in a script element: no text in it can end the element."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def write_whole(path: Path, text: str) -> Path:
    """Write a file that is whole or not there, and return its path."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="\n")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _with_text(value: Any) -> Any:
    """Return the state with ``{"__buffer__": base64}`` in place of bytes."""
    if isinstance(value, bytes):
        return {"__buffer__": base64.b64encode(value).decode("ascii")}
    if isinstance(value, Mapping):
        return {key: _with_text(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_text(item) for item in value]
    return value
