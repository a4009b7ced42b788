import type { Page } from "../api";
import { actionButton, h } from "../dom";

/** A list that grows by a page each time its button is pressed. */
export async function growingList<T>(
  className: string,
  emptyText: string,
  load: (cursor: string | null) => Promise<Page<T>>,
  present: (item: T) => HTMLElement,
): Promise<{ element: HTMLElement; prepend(item: T): void }> {
  const rows = h("ul", { className });
  const empty = h("p", { className: "empty" }, emptyText);
  let cursor: string | null = null;
  const more = actionButton("Show more", "more", addPage);

  async function addPage(): Promise<void> {
    const page: Page<T> = await load(cursor);
    rows.append(...page.items.map(present));
    cursor = page.nextCursor;
    more.hidden = cursor === null;
  }

  await addPage();
  return {
    element: h("div", {}, rows, empty, more),
    prepend: (item) => rows.prepend(present(item)),
  };
}
