// What has to be said above the picture, from the state of things: errors, a lost kernel, failed checks.
import { printable } from "../canvas/text";
import { h } from "../dom/dom";
import type { Check, Status } from "../wire/model";

export interface Notice {
  level: "red" | "amber" | "plain";
  /** Said first, in bold. */
  lead: string;
  text: string;
  detail?: string;
  action?: { label: string; act(): void };
}

/** How things stand between the widget and Python. */
export interface Situation {
  status: Status;
  /** A request has been on its way for a noticeable time. */
  busy: boolean;
  offline: boolean;
  /** There is no kernel behind the model any more. */
  gone: boolean;
  /** A request has had no answer for long. */
  silent: boolean;
  /** The last request failed with this. */
  failure: string | null;
  retry(): void;
  dismiss(): void;
}

/** Details of so few lines are open from the start: they say what to change. A traceback is longer. */
const SHORT = 6;

export function noticesOf(s: Situation, checks: readonly Check[]): Notice[] {
  const out: Notice[] = [];
  if (s.gone)
    out.push({
      level: "amber",
      lead: "Not connected.",
      text: "The kernel was restarted or has stopped. This is the last picture; run the cell again.",
    });
  else if (s.silent)
    out.push({
      level: "amber",
      lead: "No answer from Python:",
      text: "the kernel is busy or was restarted. Run the cell again.",
      action: { label: "Try again", act: s.retry },
    });
  if (s.status.state === "error" && !s.gone)
    out.push({
      level: "red",
      lead: "Error.",
      text: s.status.text,
      ...(s.status.detail !== undefined && { detail: s.status.detail }),
    });
  if (s.status.state === "cancelled" && !s.gone) out.push({ level: "plain", lead: "Cancelled.", text: s.status.text });
  if (s.failure !== null && s.failure !== s.status.text)
    out.push({ level: "red", lead: "Error.", text: s.failure, action: { label: "Dismiss", act: s.dismiss } });
  for (const check of checks)
    if (check.level === "red") out.push({ level: "red", lead: "Do not trust these numbers:", text: told(check) });
  if (s.offline)
    out.push({
      level: "plain",
      lead: "Saved page.",
      text: "Hover and selection work; changing what is shown needs Python.",
    });
  return out;
}

const told = ({ of, text }: Check): string => printable(of ? `${of}: ${text}` : text);

export function noticeElement(notice: Notice): HTMLElement {
  const el = h("div", `rw-notice rw-${notice.level}`, { role: notice.level === "red" ? "alert" : "status" });
  const text = h("div", "rw-notice-text", {}, h("b", "", {}, notice.lead), " ", notice.text);
  if (notice.detail)
    text.append(
      h(
        "details",
        "",
        { open: notice.detail.split("\n").length <= SHORT },
        h("summary", "", {}, "Details"),
        h("pre", "", {}, notice.detail),
      ),
    );
  el.append(text);
  if (notice.action) {
    const button = h("button", "rw-button rw-small", { type: "button" }, notice.action.label);
    button.addEventListener("click", notice.action.act);
    el.append(button);
  }
  return el;
}
