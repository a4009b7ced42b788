import "./style.css";
import type { Account } from "./account";
import { api, isSignedIn, listen, type Me } from "./api";
import { h, messageOf, notify } from "./dom";
import { filesPage } from "./pages/files";
import { loginPage } from "./pages/login";
import { notesPage } from "./pages/notes";
import { settingsPage } from "./pages/settings";
import { storagePage } from "./pages/storage";

interface Route {
  title: string;
  page: (account: Account) => Promise<HTMLElement>;
}

const ROUTES: Record<string, Route> = {
  "/": { title: "Notes", page: notesPage },
  "/files": { title: "Files", page: filesPage },
  "/settings": { title: "Settings", page: settingsPage },
  "/settings/storage": { title: "Storage", page: storagePage },
};

/** How many of the last answers the footer shows. */
const TRAIL = 24;

const root = document.querySelector<HTMLElement>("#app")!;
const answers: string[] = [];
let account: Account | undefined;

listen({
  answer: (instance) => {
    answers.push(instance);
    answers.splice(0, answers.length - TRAIL);
    document.querySelector("#answered")?.replaceChildren(...answeredBy());
  },
  signedOut: () => {
    account = undefined;
    notify("You have been signed out: please sign in again.", "error");
    void render();
  },
});

/** The name of the instance that answered last, and a dot in its colour for each answer before: a balancer at work can be seen. */
function answeredBy(): Node[] {
  const last = answers.at(-1);
  if (last === undefined) return [];
  const dots = answers.map((instance) => {
    const dot = h("i", { className: "dot", title: instance });
    dot.style.setProperty("--hue", String(hueOf(instance)));
    return dot;
  });
  return [h("span", { className: "trail" }, ...dots), h("span", {}, "Answered by ", h("strong", {}, last))];
}

/** Names differ in a digit or two, and a golden-angle step keeps their colours apart. */
function hueOf(name: string): number {
  const sum = [...name].reduce((total, char) => (total * 31 + char.charCodeAt(0)) % 1_009, 7);
  return Math.round((sum * 137.5) % 360);
}

export function navigate(path: string): void {
  history.pushState(null, "", path);
  void render();
}

document.addEventListener("click", (event) => {
  const link = (event.target as Element).closest<HTMLAnchorElement>("a[data-route]");
  if (link === null || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  navigate(link.pathname);
});
addEventListener("popstate", () => void render());

let rendering = 0;

async function render(): Promise<void> {
  rendering += 1;
  const turn = rendering;
  if (!isSignedIn()) {
    document.title = "Sign in · Tenant App";
    root.replaceChildren(loginPage(() => void render()), footer());
    return;
  }
  const path = location.pathname.replace(/(.)\/$/, "$1");
  const route = ROUTES[path] ?? { title: "Not found", page: async () => h("p", { className: "empty" }, "There is no such page.") };
  let content: HTMLElement;
  try {
    account ??= await openAccount();
    content = await route.page(account);
  } catch (error) {
    content = h("p", { className: "empty" }, messageOf(error));
  }
  // The user has gone elsewhere while this page was loading.
  if (turn !== rendering || !isSignedIn()) return;
  document.title = `${route.title} · Tenant App`;
  root.replaceChildren(header(path, account?.me), h("main", {}, content), footer());
}

async function openAccount(): Promise<Account> {
  const [me, { permissions }] = await Promise.all([api.me(), api.permissions()]);
  return { me, can: (permission) => permissions.includes(permission) };
}

function header(path: string, me: Me | undefined): HTMLElement {
  const links = ["/", "/files", "/settings"].map((href) => {
    const current = href === "/" ? path === "/" : path.startsWith(href);
    return h("a", { href, dataset: { route: "" }, ...(current ? { ariaCurrent: "page" } : {}) }, ROUTES[href]!.title);
  });
  const signOut = h("button", { type: "button", className: "quiet" }, "Sign out");
  signOut.addEventListener("click", async () => {
    await api.logout();
    account = undefined;
    navigate("/");
  });
  return h(
    "header", {},
    h("div", { className: "bar" },
      h("a", { href: "/", className: "brand", dataset: { route: "" } }, h("img", { src: "/favicon.svg", alt: "" }), me?.tenant.name ?? "Tenant App"),
      h("nav", {}, ...links),
      h("div", { className: "who" }, h("span", {}, me?.email ?? ""), h("span", { className: "tag" }, me?.role ?? ""), signOut),
    ),
  );
}

function footer(): HTMLElement {
  return h("footer", { id: "answered" }, ...answeredBy());
}

void render();
