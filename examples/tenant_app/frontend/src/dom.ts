type Child = Node | string | null | false;

type Attributes<K extends keyof HTMLElementTagNameMap> = Partial<Omit<HTMLElementTagNameMap[K], "style" | "dataset">> & {
  dataset?: Record<string, string>;
  ariaCurrent?: string;
};

/** Makes an element. Text goes in as text nodes only, so nothing that a user typed is ever read as HTML. */
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, attributes: Attributes<K> = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  const { dataset, ...properties } = attributes;
  Object.assign(element, properties);
  Object.assign(element.dataset, dataset);
  element.append(...children.filter((child) => child !== null && child !== false));
  return element;
}

/** A labelled control of a form. */
export function field(label: string, control: HTMLElement, hint = ""): HTMLElement {
  return h("label", { className: "field" }, h("span", {}, label), control, hint !== "" && h("small", {}, hint));
}

/** Runs the form's action once at a time; the button says that it is at work by being disabled. */
export function onSubmit(form: HTMLFormElement, action: () => Promise<void>): void {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector<HTMLButtonElement>("button[type=submit]");
    if (button !== null) button.disabled = true;
    try {
      await action();
    } catch (error) {
      notify(messageOf(error), "error");
    } finally {
      if (button !== null) button.disabled = false;
    }
  });
}

/** A button whose failures are shown and not lost. */
export function actionButton(label: string, className: string, action: () => Promise<void>): HTMLButtonElement {
  const button = h("button", { type: "button", className }, label);
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await action();
    } catch (error) {
      notify(messageOf(error), "error");
    } finally {
      button.disabled = false;
    }
  });
  return button;
}

export function notify(message: string, kind: "ok" | "error" = "ok"): void {
  const notice = h("p", { className: `notice ${kind}` }, message);
  document.querySelector("#notices")?.append(notice);
  setTimeout(() => notice.remove(), kind === "error" ? 8_000 : 3_000);
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

const dateFormat = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });

export function formatDate(iso: string): string {
  return dateFormat.format(new Date(iso));
}

export function formatSize(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB"];
  const power = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), units.length - 1);
  return `${(bytes / 1024 ** power).toLocaleString("en-GB", { maximumFractionDigits: 1 })} ${units[power]}`;
}
