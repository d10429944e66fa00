// Whether there is still a kernel behind the model, where the host says so. Hosts that do not are found out by silence.

interface LuminoSignal {
  connect(slot: (sender: unknown, value: unknown) => void): unknown;
  disconnect(slot: (sender: unknown, value: unknown) => void): unknown;
}

/** Class that Jupyter's widget views wear while their channel to the kernel is closed. */
const DISCONNECTED = "jupyter-widgets-disconnected";
// "starting": another program restarted it. A widget is shown by a kernel that has started, so this is a new one.
const GONE = new Set(["starting", "restarting", "autorestarting", "dead"]);

/** Call `gone` when the kernel died or was restarted: this model's channel is closed and will not come back. */
export function watchKernel(el: HTMLElement, manager: unknown, gone: () => void, signal: AbortSignal): void {
  const view = el.closest<HTMLElement>(".jupyter-widgets") ?? el;
  const look = () => {
    if (view.classList.contains(DISCONNECTED)) gone();
  };
  const observer = new MutationObserver(look);
  observer.observe(view, { attributes: true, attributeFilter: ["class"] });
  signal.addEventListener("abort", () => observer.disconnect());
  look();

  const status = kernelStatus(manager);
  if (!status) return;
  const changed = (_: unknown, value: unknown) => {
    if (GONE.has(String(value))) gone();
  };
  status.connect(changed);
  signal.addEventListener("abort", () => status.disconnect(changed));
}

function kernelStatus(manager: unknown): LuminoSignal | null {
  const status = (manager as { kernel?: { statusChanged?: LuminoSignal } } | undefined)?.kernel?.statusChanged;
  return typeof status?.connect === "function" && typeof status.disconnect === "function" ? status : null;
}
