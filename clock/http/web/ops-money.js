/** What a person must look after, one by one: money that did not arrive, and orders without an answer. */

import { find, make, put } from "/web/dom.js";
import { ask, read } from "/web/ops-api.js";
import { confirm } from "/web/ops-ask.js";
import { t } from "/web/ops-texts.js";
import { number, price } from "/web/texts.js";

const MOST = 20;

let told = "";

/** Refunds, payouts and withdrawals that failed or have no outcome after hours, by number and user, as the provider is asked about. */
export async function showUnsent(live) {
  const states = [["failed", live.outgoing.some((one) => one.state === "failed")], ["stuck", live.outgoing_stuck > 0]];
  const asked = states.filter(([, any]) => any).map(([state]) => read(`/ops/outgoing?state=${state}&limit=${MOST}`));
  const answers = await Promise.all(asked);
  if (answers.includes(null)) return;
  const items = answers.flatMap((answer) => answer.items);
  const several = live.outgoing.filter((one) => one.state === "failed" && one.kind !== "withdrawal" && one.count > 1);
  const text = JSON.stringify([items, several.map((one) => [one.kind, one.count]), t("no")]);
  if (text === told) return; // a number that is being copied stays selected
  told = text;
  find("unsent-all").replaceChildren(...several.flatMap(buttonsOfAll));
  find("unsent").replaceChildren(...items.map(item));
}

/** Both verbs for all of a kind that has failed; a worker does it. */
function buttonsOfAll({ kind, count, fen }) {
  const [again, acknowledge] = ["again", "acknowledge"].map((name) => make("button", "plain small", t(`do_all_${name}`, t(kind), number(count))));
  again.type = acknowledge.type = "button";
  again.addEventListener("click", () => confirm({
    title: t("ask_all_again", t(kind), number(count), price(fen)), action: t("do_again"), danger: true, reason: true,
    lines: [t(`ask_again_${kind}`), t("ask_again_2")],
    yes: (reason) => act("/ops/outgoing/again", { kind, reason }),
  }));
  acknowledge.addEventListener("click", () => confirm({
    title: t("ask_all_acknowledge", t(kind), number(count), price(fen)), action: t("do_acknowledge"), reason: true,
    lines: [t("ask_acknowledge_1")], yes: (reason) => act("/ops/outgoing/acknowledge", { kind, reason }),
  }));
  return [again, acknowledge];
}

function item(one) {
  const name = make("strong", "", `${t(one.kind)} · ${t(`state_${one.state}`)}`);
  const who = make("span", "soft", t("unsent_of", one.day, one.uid, number(one.attempts)));
  const entry = make("li", "", make("div", "head", name, who, make("span", "money", price(one.amount_fen))), make("code", "", one.no));
  if (one.order_no) entry.append(make("code", "", t("order_no", one.order_no)));
  if (one.reason) entry.append(make("span", "soft", t("reason", one.reason)));
  if (one.state === "failed") entry.append(buttons(one));
  return entry;
}

function buttons(one) {
  const [again, acknowledge] = ["again", "acknowledge"].map((name) => make("button", "plain small", t(`do_${name}`)));
  again.type = acknowledge.type = "button";
  again.addEventListener("click", () => confirm({
    title: t("ask_again", price(one.amount_fen)), action: t("do_again"), danger: true, reason: true,
    lines: [t(`ask_again_${one.kind}`), t("ask_again_2")],
    yes: (reason) => act(`/ops/outgoing/${one.no}/again`, { reason }),
  }));
  acknowledge.addEventListener("click", () => confirm({
    title: t("ask_acknowledge"), action: t("do_acknowledge"), reason: true, lines: [t("ask_acknowledge_1")],
    yes: (reason) => act(`/ops/outgoing/${one.no}/acknowledge`, { reason }),
  }));
  return make("div", "buttons", again, acknowledge);
}

async function act(path, body) {
  const reply = await ask("POST", path, body);
  if (!reply) return t("lost");
  if (reply.status !== 1) return reply.message;
  told = "";
  const live = await read("/ops/live");
  if (live) await showUnsent(live);
  return "";
}

/** Orders of a round whose payment nobody knows of. */
export async function showUnanswered(day, count) {
  find("unanswered").hidden = !count;
  if (!count) return;
  put(find("unanswered-text"), t("unanswered", number(count)));
  const data = await read(`/ops/unanswered/${day}?limit=${MOST}`);
  if (data) find("unanswered-orders").replaceChildren(...data.items.map((one) => make("li", "", make("code", "", one.order_no))));
}
