// Another widget, shown below this one where the host can.
import { h } from "../dom/dom";
import type { RenderContext } from "../wire/model";

export class Inner {
  readonly el = h("div", "rw-inner");
  #shown: string | null = null;
  #end: AbortController | null = null;

  constructor(
    private readonly host: RenderContext["host"],
    private readonly failed: (text: string) => void,
    private readonly signal: AbortSignal,
  ) {}

  show(ref: string | null): void {
    if (ref === this.#shown) return;
    this.#shown = ref;
    this.#end?.abort();
    this.el.replaceChildren();
    if (ref === null) return;
    const end = new AbortController();
    this.#end = end;
    this.signal.addEventListener("abort", () => end.abort());
    const into = h("div");
    this.el.append(into);
    const asked = this.host?.getWidget?.(ref);
    if (!asked) this.failed("This host shows no widget inside another one. In a cell of its own: w.explorer");
    else
      asked
        .then((widget) => widget.render({ el: into, signal: end.signal }))
        .catch((error: unknown) =>
          this.failed(`The explorer could not be shown here: ${error}. In a cell: w.explorer`),
        );
  }
}
