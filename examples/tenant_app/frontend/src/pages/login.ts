import { api } from "../api";
import { field, h, onSubmit } from "../dom";

export function loginPage(onDone: () => void): HTMLElement {
  const tenant = h("input", { name: "organization", autocomplete: "organization", required: true, autofocus: true, placeholder: "acme" });
  const email = h("input", { name: "email", type: "email", autocomplete: "username", required: true, placeholder: "owner@acme.example" });
  const password = h("input", { name: "password", type: "password", autocomplete: "current-password", required: true });
  const form = h(
    "form", { className: "card login" },
    h("img", { src: "/favicon.svg", alt: "", width: 44, height: 44 }),
    h("h1", {}, "Sign in"),
    h("p", { className: "muted" }, "Notes and files for your organisation."),
    field("Organisation", tenant),
    field("Email", email),
    field("Password", password),
    h("button", { type: "submit", className: "primary" }, "Sign in"),
  );
  onSubmit(form, async () => {
    await api.login(tenant.value.trim(), email.value.trim(), password.value);
    onDone();
  });
  return h("main", { className: "centre" }, form);
}
