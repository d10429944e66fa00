// The widget's frame: header, progress line, notices, sentence, picture, side panel, footer; and the words in it.
import { h, setText, toggle } from "../dom/dom";
import type { Frame } from "../wire/model";
import { Enlarge } from "./enlarge";
import { checkGroups } from "./footer";
import type { Legend } from "./legend";
import type { Menu } from "./menu";
import { noticeElement, noticesOf, type Situation } from "./notices";

export class Shell {
  readonly reset = h("button", "rw-button", { type: "button", title: "Back to the first view" }, "Reset");
  readonly cancel = h("button", "rw-button rw-small", { type: "button" }, "Cancel");
  readonly main = h("div", "rw-main");
  readonly side = h("aside", "rw-side", { "aria-label": "Details of the selection" });
  readonly root: HTMLElement;

  readonly #title = h("b", "rw-title");
  readonly #notices = h("div", "rw-notices");
  readonly #sentence = h("div", "rw-sentence");
  readonly #doing = h("span", "rw-doing", { "aria-live": "polite" });
  readonly #blank = h("div", "rw-blank", { "aria-live": "polite" });
  readonly #checks = h("div", "rw-check-groups");
  readonly #provenance = h("span", "rw-provenance");
  #allChecks = false;
  #said = "";

  readonly #bar = h("div");

  readonly #ownActions: HTMLElement;

  constructor(
    controls: HTMLElement,
    actions: HTMLElement,
    exporter: Menu,
    legend: Legend,
    inner: HTMLElement,
    signal: AbortSignal,
  ) {
    this.#ownActions = actions;
    this.main.append(this.#blank);
    // A widget that is a piece of a dashboard enlarges all of it.
    const enlarge = new Enlarge(() => this.root.closest<HTMLElement>(".rw-dashboard") ?? this.root, signal);
    const buttons = h("div", "rw-actions", {}, actions, this.reset, exporter.button, enlarge.button, legend.button);
    this.root = h(
      "div",
      "rw",
      { role: "group" },
      h("div", "rw-head", {}, this.#title, controls, buttons),
      h("div", "rw-progress", { role: "progressbar", "aria-label": "Python is computing" }, this.#bar),
      this.#notices,
      h("div", "rw-say", {}, this.#sentence, this.#doing, this.cancel),
      h("div", "rw-body", {}, this.main, this.side),
      h("div", "rw-foot", {}, this.#checks, this.#provenance),
      inner,
      exporter.el,
      legend.el,
    );
  }

  /** Put the words of the picture on show and of the situation into their places. */
  tell(frame: Frame | null, empty: boolean, situation: Situation): void {
    const { root } = this;
    const { status, offline, gone, busy, silent } = situation;
    const working = !gone && !offline && (status.state === "busy" || (busy && !silent));
    const state = gone ? "disconnected" : status.state === "error" ? "error" : working ? "busy" : "ready";
    root.dataset.rwState = frame || working ? state : "loading";
    this.#progress(working ? status.progress : undefined);
    root.classList.toggle("rw-own-actions", this.#ownActions.childElementCount > 0);
    const ended = status.state === "error" || status.state === "cancelled";
    const title = frame?.title ?? (ended ? "No picture" : "Loading");
    root.setAttribute("aria-label", title);
    root.setAttribute("aria-busy", String(working));
    setText(this.#title, title);
    setText(this.#sentence, frame?.sentence ?? "");
    setText(this.#doing, working ? status.text || "waiting for Python\u2026" : "");
    toggle(this.cancel, working && status.progress !== undefined);
    setText(this.#provenance, frame?.footer ?? "");
    this.#inPlaceOfPicture(frame, empty, situation);
    // Rebuilt only where it says something new: alerts would be spoken again, an open detail would close.
    const checks = frame?.checks ?? [];
    const notices = noticesOf(situation, checks);
    const said = JSON.stringify([notices, checks, this.#allChecks]);
    if (said === this.#said) return;
    this.#said = said;
    this.#notices.replaceChildren(...notices.map(noticeElement));
    const more = () => {
      this.#allChecks = true;
      this.tell(frame, empty, situation);
    };
    this.#checks.replaceChildren(...checkGroups(checks, this.#allChecks, more));
  }

  /** A share that is known fills the line; one that is not runs along it. */
  #progress(share: number | undefined): void {
    const known = share !== undefined;
    this.#bar.classList.toggle("rw-known", known);
    this.#bar.style.width = known ? `${Math.round(100 * share)}%` : "";
    const line = this.#bar.parentElement!;
    if (known) line.setAttribute("aria-valuenow", String(Math.round(100 * share)));
    else line.removeAttribute("aria-valuenow");
  }

  #inPlaceOfPicture(frame: Frame | null, empty: boolean, { gone, silent, status, failure }: Situation): void {
    const ended = status.state === "error" || status.state === "cancelled";
    const never = !frame && (gone || silent || ended || failure !== null);
    const waiting = !frame && !never;
    const words = frame ? "Nothing to show: the picture has no cells." : "There is no picture yet.";
    setText(this.#blank, waiting ? "The picture is on its way\u2026" : words);
    this.#blank.classList.toggle("rw-waiting", waiting);
    toggle(this.#blank, !frame || empty);
  }
}
