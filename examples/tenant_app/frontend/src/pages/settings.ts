import type { Account } from "../account";
import { api } from "../api";
import { field, h, notify, onSubmit } from "../dom";

/** The two pages of the settings. */
export function settingsTabs(current: "/settings" | "/settings/storage"): HTMLElement {
  const tab = (href: string, text: string): HTMLElement =>
    h("a", { href, dataset: { route: "" }, ...(href === current ? { ariaCurrent: "page" } : {}) }, text);
  return h("nav", { className: "tabs" }, tab("/settings", "Organisation"), tab("/settings/storage", "Storage"));
}

export async function settingsPage(account: Account): Promise<HTMLElement> {
  const settings = await api.settings();
  const writable = account.can("settings:write");
  const controls = Object.entries(settings).map(([key, value]) => ({
    key, value, input: h("input", { value: typeof value === "string" ? value : JSON.stringify(value), disabled: !writable }),
  }));
  const form = h(
    "form", { className: "card narrow" },
    ...controls.map(({ key, input }) => field(labelOf(key), input)),
    writable ? h("button", { type: "submit", className: "primary" }, "Save") : h("p", { className: "muted" }, "Only an owner may change these."),
  );
  onSubmit(form, async () => {
    await api.saveSettings(Object.fromEntries(controls.map(({ key, value, input }) => [key, parse(key, value, input.value)])));
    notify("Settings saved.");
  });
  return h("section", {}, h("div", { className: "heading" }, h("h1", {}, "Settings")), settingsTabs("/settings"), form);
}

function labelOf(key: string): string {
  const text = key.replace(/[_.]/g, " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** A setting keeps its kind: text stays text, and anything else is read as JSON. */
function parse(key: string, before: unknown, text: string): unknown {
  if (typeof before === "string") return text;
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${labelOf(key)} must be a value like ${JSON.stringify(before)}.`);
  }
}
