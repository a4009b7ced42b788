import type { Account } from "../account";
import { api, type Storage, type StorageDriver } from "../api";
import { field, h, notify, onSubmit } from "../dom";
import { settingsTabs } from "./settings";

const NAMES: Record<StorageDriver, string> = { local: "Directory or share", s3: "S3 bucket", azure_blob: "Azure Blob container" };

export async function storagePage(account: Account): Promise<HTMLElement> {
  const facts = h("dl", { className: "facts" });
  const show = ({ driver, path, writeTest }: Storage): void => {
    const verdict = h("span", { className: writeTest.ok ? "verdict good" : "verdict bad" }, writeTest.ok ? "passed" : "failed");
    facts.replaceChildren(
      h("dt", {}, "Driver"), h("dd", {}, NAMES[driver]),
      h("dt", {}, "Place"), h("dd", {}, h("code", {}, path)),
      h("dt", {}, "Write test"), h("dd", {}, verdict, writeTest.reason !== undefined && h("small", {}, writeTest.reason)),
    );
  };
  const storage = await api.storage();
  show(storage);

  const driver = h("select", {}, ...storage.choices.map((name) => h("option", { value: name, selected: name === storage.driver }, NAMES[name])));
  const isLocal = (): boolean => driver.value === "local";
  const path = h("input", { value: storage.driver === "local" ? storage.path : "", spellcheck: false });
  const pathField = field("Path", path, "A directory that every instance sees at this path, such as a mounted share.");
  const adapt = (): void => {
    path.required = isLocal();
    pathField.hidden = !isLocal();
  };
  driver.addEventListener("change", adapt);
  adapt();
  const form = h(
    "form", { className: "inner" },
    field("New storage", driver, "A test file is written and read there first. Files already stored do not move by themselves. Which bucket or container is a matter of the instances' configuration."),
    pathField,
    h("button", { type: "submit", className: "primary" }, "Test and save"),
  );
  onSubmit(form, async () => {
    const chosen = driver.value as StorageDriver;
    show(await api.saveStorage(isLocal() ? { driver: chosen, path: path.value.trim() } : { driver: chosen }));
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
