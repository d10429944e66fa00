// The tooltip: in the browser's top layer, so that no scrolling or clipping notebook cell cuts it.

import type { Rect } from "../canvas/layout";
import { h, tokenSpan } from "../dom/dom";
import { tokenBars } from "./bars";
import type { Facts } from "./facts";

const TOP_SHOWN = 5;

function content(f: Facts): DocumentFragment {
  const out = document.createDocumentFragment();
  out.append(
    h(
      "div",
      "rw-tip-head",
      {},
      `${f.lead} \u00b7 `,
      tokenSpan(f.token),
      h("span", "rw-dim", {}, f.where && ` ${f.where}`),
    ),
    h("div", "rw-tip-value", {}, h("span", "rw-dim", {}, f.label), h("b", "rw-number", {}, f.value)),
  );
  for (const { label, value } of f.also)
    out.append(h("div", "rw-tip-value", {}, h("span", "rw-dim", {}, label), h("span", "rw-number", {}, value)));
  for (const note of f.notes) out.append(h("div", "rw-tip-note", {}, note));
  if (f.top.length) out.append(tokenBars(f.top, TOP_SHOWN));
  return out;
}

export class Tooltip {
  readonly el = h("div", "rw-tip", { role: "tooltip", popover: "manual", "aria-hidden": "true" });
  #size = { w: 0, h: 0 };
  #open = false;

  /** Show facts beside a cell, given in coordinates of the browser window. */
  show(f: Facts, beside: Rect): void {
    this.el.replaceChildren(content(f));
    if (!this.#open) {
      if (!this.el.isConnected) return;
      this.el.showPopover?.();
      this.#open = true;
    }
    this.#size = { w: this.el.offsetWidth, h: this.el.offsetHeight };
    this.#place(beside);
  }

  hide(): void {
    if (!this.#open) return;
    this.#open = false;
    if (this.el.isConnected) this.el.hidePopover?.();
  }

  /** Below and right of the cell, or on the side where there is room. */
  #place(cell: Rect): void {
    const { w, h: height } = this.#size;
    const gap = 8;
    const right = cell.x + cell.w + gap;
    const left = right + w > innerWidth - 4 ? Math.max(4, cell.x - gap - w) : right;
    const below = cell.y + cell.h + gap;
    const top = below + height > innerHeight - 4 ? Math.max(4, cell.y - gap - height) : below;
    this.el.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  }
}
