// Whether there is still a kernel behind the model, where the host says so. Hosts that do not are found out by silence.

interface LuminoSignal {
  connect(slot: (sender: unknown, value: unknown) => void): unknown;
  disconnect(slot: (sender: unknown, value: unknown) => void): unknown;
}

/** Of Jupyter's connection to a kernel, what says that the kernel went. */
interface Kernel {
  statusChanged?: LuminoSignal;
  anyMessage?: LuminoSignal;
  requestKernelInfo?(): Promise<unknown>;
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

  listen((manager as { kernel?: Kernel } | undefined)?.kernel, gone, signal);
}

/** Call `gone` when what a kernel's connection tells means that the process behind it went. */
export function listen(kernel: Kernel | undefined, gone: () => void, signal: AbortSignal): void {
  const saysGone = goodbyes();
  follow(kernel?.statusChanged, (value) => GONE.has(String(value)) && gone(), signal);
  follow(kernel?.anyMessage, (value) => saysGone(value) && gone(), signal);
  // A picture may be drawn after the last word of the cell that made it: only an answer tells who speaks now.
  void Promise.resolve(kernel?.requestKernelInfo?.()).catch(() => undefined);
}

function follow(source: LuminoSignal | undefined, told: (value: unknown) => void, signal: AbortSignal): void {
  if (typeof source?.connect !== "function" || typeof source.disconnect !== "function") return;
  const slot = (_: unknown, value: unknown) => told(value);
  source.connect(slot);
  signal.addEventListener("abort", () => source.disconnect(slot));
}

/**
 * Tells of each message that a front-end sees whether it says that the kernel went.
 *
 * After a restart by another program the status "starting" is lost if it comes before the server has connected to the
 * new process. Two other messages say it as well. The old process announces its end to all. And each process signs
 * what it sends with a session of its own: a status signed otherwise than the first one comes from a new process.
 * Servers sign what they say in a kernel's name with theirs, but never say "busy" or "idle"; kernels that sign with
 * their client's session say nothing about processes.
 */
export function goodbyes(): (message: unknown) => boolean {
  let first: string | undefined;
  return (message) => {
    const { direction, msg } = message as { direction?: string; msg?: JupyterMessage };
    if (direction !== "recv" || !msg) return false;
    if (msg.header?.msg_type === "shutdown_reply") return true;
    const session = msg.header?.session;
    if (msg.header?.msg_type !== "status" || !session || session === msg.parent_header?.session) return false;
    if (!["busy", "idle"].includes(msg.content?.execution_state ?? "")) return false;
    first ??= session;
    return session !== first;
  };
}

interface JupyterMessage {
  header?: { msg_type?: string; session?: string };
  parent_header?: { session?: string };
  content?: { execution_state?: string };
}
