/** What a person must look after, one by one: money that did not arrive, and orders without an answer. */

import { find, make, put } from "/web/dom.js";
import { read } from "/web/ops-api.js";
import { t } from "/web/ops-texts.js";
import { number, price } from "/web/texts.js";

const MOST = 20;

let told = "";

/** Refunds and payouts that failed or have no outcome after hours, by number and user, as the provider is asked about. */
export async function showUnsent(live) {
  const states = [["failed", live.outgoing.some((one) => one.state === "failed")], ["stuck", live.outgoing_stuck > 0]];
  const asked = states.filter(([, any]) => any).map(([state]) => read(`/ops/outgoing?state=${state}&limit=${MOST}`));
  const answers = await Promise.all(asked);
  if (answers.includes(null)) return;
  const items = answers.flatMap((answer) => answer.items);
  const text = JSON.stringify([items, t("no")]);
  if (text === told) return; // a number that is being copied stays selected
  told = text;
  find("unsent").replaceChildren(...items.map(item));
}

function item(one) {
  const name = make("strong", "", `${t(one.kind)} · ${t(`state_${one.state}`)}`);
  const who = make("span", "soft", t("unsent_of", one.day, one.uid, number(one.attempts)));
  const entry = make("li", "", make("div", "head", name, who, make("span", "money", price(one.amount_fen))), make("code", "", one.no));
  if (one.order_no) entry.append(make("code", "", t("order_no", one.order_no)));
  if (one.reason) entry.append(make("span", "soft", t("reason", one.reason)));
  return entry;
}

/** Orders of a round whose payment nobody knows of. */
export async function showUnanswered(day, count) {
  find("unanswered").hidden = !count;
  if (!count) return;
  put(find("unanswered-text"), t("unanswered", number(count)));
  const data = await read(`/ops/unanswered/${day}?limit=${MOST}`);
  if (data) find("unanswered-orders").replaceChildren(...data.items.map((one) => make("li", "", make("code", "", one.order_no))));
}
