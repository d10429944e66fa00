// The header's own controls, made from what Python lists. Kept in place between updates, so that focus stays.

import { printable } from "../canvas/text";
import { h, toggle } from "../dom/dom";
import type { Control, ControlValue } from "../wire/model";
import type { Optimistic } from "../wire/optimistic";

type Field = HTMLInputElement | HTMLSelectElement | HTMLFieldSetElement;

interface Made {
  control: Control;
  label: HTMLElement;
  field: Field;
  shape: string;
}

/** What makes a control's elements; only a change of this rebuilds them. */
const shapeOf = (c: Control): string => JSON.stringify([c.kind, c.label, c.options, c.min, c.max]);

/** Controls as they stand: what the user has just set shows at once. */
export const standing = (controls: readonly Control[], claims: Pick<Optimistic, "value">): Control[] =>
  controls.map((control) => ({ ...control, value: claims.value(`set ${control.name}`, control.value) }));

export class Controls {
  readonly el = h("div", "rw-controls");
  #made = new Map<string, Made>();

  constructor(
    private readonly set: (name: string, value: ControlValue) => void,
    private readonly signal: AbortSignal,
  ) {}

  update(controls: readonly Control[], disabled: boolean): void {
    const before = this.#made;
    this.#made = new Map();
    for (const control of controls) {
      const old = before.get(control.name);
      const made = old && old.shape === shapeOf(control) ? old : this.#make(control);
      made.control = control;
      this.#made.set(control.name, made);
      const { label, field } = made;
      toggle(label, control.visible);
      field.disabled = disabled;
      show(made, control.value);
      if (control.refused === undefined) field.removeAttribute("aria-invalid");
      else field.setAttribute("aria-invalid", "true");
      label.title = control.refused ?? control.hint ?? "";
    }
    const wanted = [...this.#made.values()].map((made) => made.label);
    const there = [...this.el.children];
    if (wanted.length !== there.length || wanted.some((label, i) => label !== there[i]))
      this.el.replaceChildren(...wanted);
  }

  #make(control: Control): Made {
    const field = fieldOf(control);
    field.name = control.name;
    const name = h("span", "", {}, control.label);
    const tag = field instanceof HTMLFieldSetElement ? "div" : "label";
    const parts = control.kind === "check" ? [field, name] : [name, field];
    const label = h(tag, `rw-control${control.wide ? " rw-wide" : ""}`, {}, ...parts);
    const made: Made = { control, label, field, shape: shapeOf(control) };
    if (field instanceof HTMLFieldSetElement) {
      field.setAttribute("aria-label", control.label);
      [...field.children].forEach((button, i) => {
        const press = () => this.set(control.name, optionsOf(made.control)[i]?.value ?? null);
        button.addEventListener("click", press, { signal: this.signal });
      });
    } else field.addEventListener("change", () => this.set(control.name, read(made)), { signal: this.signal });
    // Keys typed here are ours: notebook shortcuts must not see them.
    label.addEventListener("keydown", (event) => event.stopPropagation(), { signal: this.signal });
    return made;
  }
}

const optionsOf = (control: Control) =>
  (control.options ?? []).map((o) => (typeof o === "object" ? o : { value: o, label: String(o) }));

function fieldOf(control: Control): Field {
  if (control.kind === "select") {
    const select = h("select", "rw-field");
    optionsOf(control).forEach((o, i) => {
      select.append(h("option", "", { value: i }, printable(o.label)));
    });
    return select;
  }
  if (control.kind === "choice")
    return h(
      "fieldset",
      "rw-group rw-choice",
      {},
      ...optionsOf(control).map((o) => h("button", "rw-button", { type: "button" }, printable(o.label))),
    );
  if (control.kind === "check") return h("input", "", { type: "checkbox" });
  if (control.kind === "text")
    return h("input", "rw-field rw-token", { type: "text", spellcheck: "false", placeholder: control.placeholder });
  return h("input", "rw-field", { type: "number", min: control.min, max: control.max, step: "any" });
}

function show({ control, field }: Made, value: ControlValue): void {
  if (field instanceof HTMLSelectElement) field.selectedIndex = optionsOf(control).findIndex((o) => o.value === value);
  else if (field instanceof HTMLFieldSetElement)
    optionsOf(control).forEach((o, i) => {
      field.children[i]?.setAttribute("aria-pressed", String(o.value === value));
    });
  else if (control.kind === "check") field.checked = Boolean(value);
  else if (field.value !== String(value ?? "") && document.activeElement !== field) field.value = String(value ?? "");
}

/** The value as Python knows it, or null for an empty field. */
function read({ control, field }: Made): ControlValue {
  if (field instanceof HTMLSelectElement) return optionsOf(control)[field.selectedIndex]?.value ?? null;
  if (field instanceof HTMLFieldSetElement) return control.value; // its buttons speak for themselves
  if (control.kind === "check") return field.checked;
  if (control.kind === "text") return field.value;
  if (field.value === "") return null;
  const value = Number(field.value);
  const clamped = Math.min(control.max ?? value, Math.max(control.min ?? value, value));
  if (clamped !== value) field.value = String(clamped);
  return clamped;
}
