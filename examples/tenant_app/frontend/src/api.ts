export interface Me {
  id: string;
  email: string;
  name: string;
  role: string;
  tenant: { id: string; slug: string; name: string };
}

export interface Note {
  id: string;
  title: string;
  body: string;
  createdAt: string;
  updatedAt: string;
}

export interface Upload {
  id: string;
  name: string;
  contentType: string;
  size: number;
  sha256: string;
  createdAt: string;
}

export interface Page<T> {
  items: T[];
  nextCursor: string | null;
}

export type Settings = Record<string, unknown>;

export type StorageDriver = "local" | "s3" | "azure_blob";

export interface Storage {
  driver: StorageDriver;
  path: string;
  /** The drivers that the instances are configured for. */
  choices: StorageDriver[];
  writeTest: { ok: boolean; reason?: string };
}

const TOKEN = "access-token";

/** When this user last wrote, as an answer said it. Shown with each request, so that a read does not come from a copy that lags behind. */
const READ_AFTER = "x-read-after";

/** What the server said against a request; the request id leads to its log line. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    requestId: string | null,
  ) {
    super(requestId === null ? message : `${message} (request ${requestId})`);
  }
}

/** Told of each answer which instance gave it. */
let onAnswer: (instance: string) => void = () => {};
/** Told when the token is not believed any more. */
let onSignedOut: () => void = () => {};

export function listen(listeners: { answer: typeof onAnswer; signedOut: typeof onSignedOut }): void {
  onAnswer = listeners.answer;
  onSignedOut = listeners.signedOut;
}

export function isSignedIn(): boolean {
  return sessionStorage.getItem(TOKEN) !== null;
}

async function send(method: string, path: string, body?: unknown, extraHeaders: Record<string, string> = {}): Promise<Response> {
  const headers = new Headers(extraHeaders);
  const token = sessionStorage.getItem(TOKEN);
  if (token !== null) headers.set("authorization", `Bearer ${token}`);
  const readAfter = sessionStorage.getItem(READ_AFTER);
  if (readAfter !== null) headers.set(READ_AFTER, readAfter);
  const isForm = body instanceof FormData;
  if (body !== undefined && !isForm) headers.set("content-type", "application/json");

  let response: Response;
  try {
    response = await fetch(path, { method, headers, body: body === undefined || isForm ? body : JSON.stringify(body) });
  } catch {
    throw new ApiError(0, "The server cannot be reached.", null);
  }
  const instance = response.headers.get("x-served-by");
  if (instance !== null) onAnswer(instance);
  const wroteAt = response.headers.get(READ_AFTER);
  if (wroteAt !== null) sessionStorage.setItem(READ_AFTER, wroteAt);
  if (response.ok) return response;

  if (response.status === 401 && token !== null) {
    sessionStorage.removeItem(TOKEN);
    onSignedOut();
  }
  // A balancer answers with a page of its own when no instance is left.
  const answer = await response.json().catch(() => null);
  throw new ApiError(response.status, answer?.error?.message ?? `The server answered ${response.status}.`, answer?.error?.requestId ?? null);
}

async function json<T>(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<T> {
  return (await send(method, path, body, headers)).json() as Promise<T>;
}

function list<T>(path: string, cursor: string | null): Promise<Page<T>> {
  return json("GET", cursor === null ? path : `${path}?cursor=${cursor}`);
}

/** crypto.randomUUID exists only over HTTPS, and the single server of the beginning has none. */
function randomKey(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export const api = {
  async login(tenant: string, email: string, password: string): Promise<void> {
    const { accessToken } = await json<{ accessToken: string }>("POST", "/api/auth/login", { tenant, email, password });
    sessionStorage.setItem(TOKEN, accessToken);
  },
  async logout(): Promise<void> {
    // Whatever the server says, this browser forgets the token.
    await send("POST", "/api/auth/logout").catch(() => {});
    sessionStorage.removeItem(TOKEN);
  },
  me: () => json<Me>("GET", "/api/me"),
  permissions: () => json<{ permissions: string[] }>("GET", "/api/permissions"),

  notes: (cursor: string | null) => list<Note>("/api/notes", cursor),
  createNote: (title: string, body: string) => json<Note>("POST", "/api/notes", { title, body }, { "idempotency-key": randomKey() }),
  updateNote: (id: string, title: string, body: string) => json<Note>("PUT", `/api/notes/${id}`, { title, body }),
  deleteNote: (id: string) => send("DELETE", `/api/notes/${id}`),

  uploads: (cursor: string | null) => list<Upload>("/api/uploads", cursor),
  upload(file: File): Promise<Upload> {
    const form = new FormData();
    form.append("file", file);
    return json("POST", "/api/uploads", form);
  },
  download: async (id: string) => (await send("GET", `/api/uploads/${id}`)).blob(),
  deleteUpload: (id: string) => send("DELETE", `/api/uploads/${id}`),

  settings: async () => (await json<{ settings: Settings }>("GET", "/api/settings")).settings,
  saveSettings: (changes: Settings) => json("PUT", "/api/settings", changes),
  storage: () => json<Storage>("GET", "/api/settings/storage"),
  saveStorage: (setting: { driver: StorageDriver; path?: string }) => json<Storage>("PUT", "/api/settings/storage", setting),
};
