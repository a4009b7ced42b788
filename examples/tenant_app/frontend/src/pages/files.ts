import type { Account } from "../account";
import { api, type Upload } from "../api";
import { actionButton, formatDate, formatSize, h, messageOf, notify } from "../dom";
import { growingList } from "./list";

export async function filesPage(account: Account): Promise<HTMLElement> {
  const writable = account.can("uploads:write");
  const list = await growingList("files card", "No files yet.", api.uploads, (upload) => fileRow(upload, writable));
  return h("section", {}, h("div", { className: "heading" }, h("h1", {}, "Files")), writable && dropZone(list.prepend), list.element);
}

function dropZone(onUploaded: (upload: Upload) => void): HTMLElement {
  const input = h("input", { type: "file", multiple: true });
  const hint = h("span", {}, "Drop files here, or choose them");
  const zone = h("label", { className: "drop" }, input, hint);

  /** One after the other, so that a large batch does not occupy the whole connection. */
  const uploadAll = async (files: FileList): Promise<void> => {
    zone.classList.add("busy");
    for (const [index, file] of [...files].entries()) {
      hint.textContent = `Uploading ${file.name} (${index + 1} of ${files.length}) …`;
      try {
        onUploaded(await api.upload(file));
        notify(`${file.name} uploaded.`);
      } catch (error) {
        notify(`${file.name}: ${messageOf(error)}`, "error");
      }
    }
    hint.textContent = "Drop files here, or choose them";
    zone.classList.remove("busy");
  };

  input.addEventListener("change", async () => {
    if (input.files !== null) await uploadAll(input.files);
    input.value = "";
  });
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    if (event.dataTransfer !== null) void uploadAll(event.dataTransfer.files);
  });
  return zone;
}

function fileRow(upload: Upload, writable: boolean): HTMLElement {
  const row = h("li", {});
  const download = actionButton("Download", "quiet", async () => save(upload.name, await api.download(upload.id)));
  const remove = actionButton("Delete", "quiet danger", async () => {
    if (!confirm(`Delete “${upload.name}”?`)) return;
    await api.deleteUpload(upload.id);
    row.remove();
    notify("File deleted.");
  });
  row.append(
    h("div", { className: "name" }, h("strong", {}, upload.name), h("code", { title: `SHA-256 ${upload.sha256}` }, upload.sha256.slice(0, 12))),
    h("span", { className: "size" }, formatSize(upload.size)),
    h("time", { dateTime: upload.createdAt }, formatDate(upload.createdAt)),
    h("div", { className: "actions" }, download, writable && remove),
  );
  return row;
}

/** A plain link cannot carry the access token, so the file is fetched first. */
function save(name: string, content: Blob): void {
  const href = URL.createObjectURL(content);
  h("a", { href, download: name }).click();
  URL.revokeObjectURL(href);
}
