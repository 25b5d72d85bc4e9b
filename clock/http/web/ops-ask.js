/** The question before something that cannot be taken back. */

import { find, make, put } from "/web/dom.js";
import { t } from "/web/ops-texts.js";

/** Shows what will happen. `yes` is called with the reason, and answers what went wrong, or nothing. */
export function confirm({ title, lines, action, danger, reason, yes }) {
  const dialog = find("ask");
  put(find("ask-title"), title);
  find("ask-text").replaceChildren(...lines.map((line) => make("li", "", line)));
  find("ask-why").hidden = !reason;
  find("why").value = "";
  put(find("ask-said"), "");
  const button = find("ask-yes");
  put(button, action);
  button.classList.toggle("danger", Boolean(danger));
  button.disabled = false;
  find("ask-form").onsubmit = async (event) => {
    event.preventDefault();
    const why = find("why").value.trim();
    if (reason && !why) {
      put(find("ask-said"), t("why_needed"));
      return find("why").focus();
    }
    button.disabled = true;
    const wrong = await yes(why);
    button.disabled = false;
    if (wrong) put(find("ask-said"), wrong);
    else dialog.close();
  };
  dialog.showModal();
  if (reason) find("why").focus();
}

find("ask-no").addEventListener("click", () => find("ask").close());
