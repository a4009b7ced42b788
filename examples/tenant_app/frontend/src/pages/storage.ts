import type { Account } from "../account";
import { api, type Storage } from "../api";
import { field, h, notify, onSubmit } from "../dom";
import { settingsTabs } from "./settings";

export async function storagePage(account: Account): Promise<HTMLElement> {
  const facts = h("dl", { className: "facts" });
  const show = ({ driver, path, writeTest }: Storage): void => {
    const verdict = h("span", { className: writeTest.ok ? "verdict good" : "verdict bad" }, writeTest.ok ? "passed" : "failed");
    facts.replaceChildren(
      h("dt", {}, "Driver"), h("dd", {}, driver),
      h("dt", {}, "Path"), h("dd", {}, h("code", {}, path)),
      h("dt", {}, "Write test"), h("dd", {}, verdict, writeTest.reason !== undefined && h("small", {}, writeTest.reason)),
    );
  };
  const storage = await api.storage();
  show(storage);

  const path = h("input", { value: storage.path, required: true, spellcheck: false });
  const form = h(
    "form", { className: "inner" },
    field("New path", path, "A directory that every instance sees at this path, such as a mounted share. A test file is written and read there first. Files already stored do not move by themselves."),
    h("button", { type: "submit", className: "primary" }, "Test and save"),
  );
  onSubmit(form, async () => {
    show(await api.saveStorage(path.value.trim()));
    notify("Storage changed: every instance follows within five seconds.");
  });
  const permitted = account.can("storage:manage");
  return h(
    "section", {},
    h("div", { className: "heading" }, h("h1", {}, "Settings")),
    settingsTabs("/settings/storage"),
    h("div", { className: "card narrow" }, facts, permitted ? form : h("p", { className: "muted" }, "Only an owner may change the storage.")),
  );
}
