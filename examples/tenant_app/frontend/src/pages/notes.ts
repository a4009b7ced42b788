import type { Account } from "../account";
import { api, type Note } from "../api";
import { actionButton, field, formatDate, h, notify, onSubmit } from "../dom";
import { growingList } from "./list";

export async function notesPage(account: Account): Promise<HTMLElement> {
  const writable = account.can("notes:write");
  const list = await growingList("notes", "No notes yet.", api.notes, (note) => noteCard(note, writable));
  const add = h("button", { type: "button", className: "primary" }, "New note");
  add.addEventListener("click", () =>
    editNote("New note", { title: "", body: "" }, async (title, body) => {
      list.prepend(await api.createNote(title, body));
      notify("Note added.");
    }),
  );
  return h("section", {}, h("div", { className: "heading" }, h("h1", {}, "Notes"), writable && add), list.element);
}

function noteCard(note: Note, writable: boolean): HTMLElement {
  const card = h("li", { className: "card" });
  const edit = h("button", { type: "button", className: "quiet" }, "Edit");
  edit.addEventListener("click", () =>
    editNote("Edit note", note, async (title, body) => {
      card.replaceWith(noteCard(await api.updateNote(note.id, title, body), writable));
      notify("Note saved.");
    }),
  );
  const remove = actionButton("Delete", "quiet danger", async () => {
    if (!confirm(`Delete “${note.title}”?`)) return;
    await api.deleteNote(note.id);
    card.remove();
    notify("Note deleted.");
  });
  card.append(
    h("h2", {}, note.title),
    h("p", {}, note.body),
    h("div", { className: "foot" }, h("time", { dateTime: note.updatedAt }, formatDate(note.updatedAt)), ...(writable ? [edit, remove] : [])),
  );
  return card;
}

function editNote(heading: string, initial: { title: string; body: string }, save: (title: string, body: string) => Promise<void>): void {
  const title = h("input", { value: initial.title, required: true, maxLength: 200 });
  const body = h("textarea", { value: initial.body, rows: 8, maxLength: 20_000 });
  const cancel = h("button", { type: "button", className: "quiet" }, "Cancel");
  const form = h(
    "form", {},
    h("h2", {}, heading),
    field("Title", title),
    field("Text", body),
    h("div", { className: "actions" }, cancel, h("button", { type: "submit", className: "primary" }, "Save")),
  );
  const dialog = h("dialog", {}, form);
  cancel.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  onSubmit(form, async () => {
    await save(title.value, body.value);
    dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
}
