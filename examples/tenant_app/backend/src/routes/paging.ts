/** Query string of every list: newest first, `cursor` is the `nextCursor` of the page before. */
export const pageQuery = {
  type: "object",
  additionalProperties: false,
  properties: {
    limit: { type: "integer", minimum: 1, maximum: 100, default: 20 },
    cursor: { type: "string", format: "uuid" },
  },
} as const;

export interface PageQuery {
  limit: number;
  cursor?: string;
}

export const idParams = {
  type: "object",
  required: ["id"],
  properties: { id: { type: "string", format: "uuid" } },
} as const;

export interface IdParams {
  id: string;
}

/** Arguments for findMany. One row more than asked for tells, without a second query, whether a next page exists. */
export function pageOf(tenantId: string, { limit, cursor }: PageQuery) {
  return {
    where: { tenantId, ...(cursor === undefined ? {} : { id: { lt: cursor } }) },
    orderBy: { id: "desc" },
    take: limit + 1,
  } as const;
}

export function toPage<Row extends { id: string }, Item>(
  rows: Row[],
  limit: number,
  present: (row: Row) => Item,
): { items: Item[]; nextCursor: string | null } {
  const shown = rows.slice(0, limit);
  return { items: shown.map(present), nextCursor: rows.length > limit ? (shown.at(-1)?.id ?? null) : null };
}
