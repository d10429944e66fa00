"""The least that an anywidget can do: a message there and one back, with nothing, bytes or JSON lists in it."""

from __future__ import annotations

from typing import Any, ClassVar

import anywidget
import numpy as np


class Echo(anywidget.AnyWidget):
    """A button for each kind of answer, and how many numbers the last answer brought."""

    _esm: ClassVar[str] = """
    const numbers = ({ grid }, [data]) => grid ? Float32Array.from(grid.flat())
      : data ? new Float32Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength))
      : new Float32Array(0);
    export default {
      render({ model, el }) {
        const out = document.createElement("output");
        let count = 0;
        for (const kind of ["nothing", "bytes", "list"]) {
          const button = document.createElement("button");
          button.textContent = button.className = kind;
          button.addEventListener("click", () => model.send({ kind }));
          el.append(button);
        }
        out.textContent = "0";
        el.className = "echo";
        el.append(out);
        model.on("msg:custom", (content, buffers) => {
          out.textContent = `${++count}: ${numbers(content, buffers ?? []).length} numbers`;
        });
      },
    };
    """

    def __init__(self, grid: Any) -> None:
        super().__init__()
        self.grid = np.asarray(grid, dtype="<f4")
        self.on_msg(self.answer)

    def answer(self, _: Any, content: Any, buffers: Any) -> None:
        if content["kind"] == "bytes":
            self.send({"kind": "bytes"}, [self.grid.tobytes()])
        elif content["kind"] == "list":
            self.send({"kind": "list", "grid": self.grid.tolist()})
        else:
            self.send({"kind": "nothing"})
