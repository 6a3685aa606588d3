/** Dialog for an API key, shown once for all requests that wait for it. */

import { h, unique } from "./dom.js";

let asking = null;

/**
 * Ask for a key in a dialog.
 * @param {string} wrong what was wrong with the previous key
 * @returns {Promise<{key: string, remember: boolean}|null>} null if the user gave none
 */
export function askForKey(wrong) {
  asking ??= ask(wrong).finally(() => {
    asking = null;
  });
  return asking;
}

function ask(wrong) {
  const input = h("input", { type: "password", id: unique("key"), autocomplete: "current-password", required: true });
  const remember = h("input", { type: "checkbox", id: unique("remember") });
  const form = h(
    "form",
    { method: "dialog" },
    h("h2", {}, "This server asks for an API key"),
    h("p", {}, "The operator has one for you (LEANFRONT_API_KEYS). It is sent to this server only."),
    wrong ? h("p", { role: "alert", class: "wrong" }, wrong) : null,
    h("label", { for: input.id }, "API key"),
    input,
    h("label", { class: "check", for: remember.id }, remember, " keep it in this browser"),
    h("div", { class: "actions" }, h("button", { class: "primary", value: "use" }, "Use it"), cancel()),
  );
  const dialog = h("dialog", { "aria-label": "API key" }, form);
  document.body.append(dialog);
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      const used = dialog.returnValue === "use" && input.value.trim();
      resolve(used ? { key: input.value.trim(), remember: remember.checked } : null);
    });
    dialog.showModal();
    input.focus();
  });

  function cancel() {
    return h("button", { type: "button", on: { click: () => dialog.close() } }, "Cancel");
  }
}
