// Asks for the console's token when it wants one.

import { tell } from "./ask.js";
import { element, field, say } from "./dom.js";

/** The dialog; `done` is called after the console took the token. */
export function login(done) {
  const token = element("input", {
    id: "token",
    type: "password",
    autocomplete: "current-password",
    required: true,
    spellcheck: "false",
  });
  const wrong = element("p", { class: "error", id: "login-error", role: "alert" });
  const dialog = element(
    "dialog",
    { id: "login", "aria-labelledby": "login-title" },
    element(
      "form",
      { class: "stack", onsubmit: submit },
      element("h2", { id: "login-title" }, "This console asks for its token"),
      element(
        "p",
        { class: "soft" },
        "It is what ",
        element("code", {}, "CONSOLE_TOKEN"),
        " was set to; if it was not, the console drew one and wrote it into the first lines of its log.",
      ),
      element("input", {
        type: "text",
        autocomplete: "username",
        value: "console",
        hidden: true,
        tabindex: "-1",
      }),
      field("Token", token),
      wrong,
      element(
        "div",
        { class: "row" },
        element("button", { class: "primary", id: "login-submit" }, "Open"),
      ),
    ),
  );
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  document.body.append(dialog);

  async function submit(event) {
    event.preventDefault();
    await give(() => token.value);
  }

  async function give(wanted) {
    say(wrong, "");
    try {
      await tell("/login", { token: wanted() });
      token.value = "";
      if (!dialog.open) return;
      dialog.close();
      done();
    } catch (error) {
      // It is read where one is asked for.
      say(wrong, error.message);
      token.select();
    }
  }

  /** Shows a token that came with the page's address, and takes it out of sight. */
  async function bring() {
    const found = /^#token=(.+)$/.exec(location.hash);
    if (!found) return;
    history.replaceState(null, "", "#/");
    await give(() => decodeURIComponent(found[1]));
  }

  return {
    bring,
    open() {
      if (!dialog.open) dialog.showModal();
    },
  };
}
