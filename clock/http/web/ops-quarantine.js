/** Callbacks that failed a check, and what is decided about them. */

import { find, make, put } from "/web/dom.js";
import { ask, read } from "/web/ops-api.js";
import { confirm } from "/web/ops-ask.js";
import { has, t } from "/web/ops-texts.js";
import * as servertime from "/web/servertime.js";
import { number, price } from "/web/texts.js";

const PAGE = 20;

let pages = 1;
let all = false;
let said = "";

const whenOf = (ms) => `${servertime.dayOf(ms)} ${servertime.timeOf(ms)}`;
const whyOf = (word) => (has(`cannot_${word}`) ? t(`cannot_${word}`) : word);

export async function showQuarantine() {
  const limit = Math.min(200, PAGE * pages);
  const data = await read(`/ops/quarantine?waiting=${!all}&limit=${limit}`);
  if (!data) return;
  const text = JSON.stringify([data, all, t("raw")]);
  if (text === said) return; // an opened raw body stays open while nothing changes
  said = text;
  put(find("waiting"), data.waiting ? t("waiting_count", number(data.waiting)) : "");
  find("kept").replaceChildren(...data.items.map(item));
  find("kept-none").hidden = data.items.length > 0;
  find("kept-more").hidden = data.total <= data.items.length || limit >= 200;
}

function item(one) {
  const head = make("div", "head", make("strong", "", t(`why_${one.reason}`)), make("span", "soft", `${whenOf(one.at_ms)} · ${one.channel}`));
  if (one.amount !== null) head.append(make("span", "money", price(one.amount)));
  const names = [one.order_no && t("order_no", one.order_no), one.transaction_id && t("transaction", one.transaction_id)].filter(Boolean);
  const raw = make("details", "", make("summary", "", t("raw")), make("pre", "", one.raw));
  const entry = make("li", "", head, ...names.map((name) => make("code", "", name)), raw);
  entry.dataset.entry = one.id;
  if (one.released) entry.append(decided(one.released));
  else {
    if (one.why_not) entry.append(make("span", "soft", whyOf(one.why_not)));
    entry.append(buttons(one));
  }
  return entry;
}

function decided({ action, why, by_whom, released_ms, amount_fen, refund_no, refund_state }) {
  const text = t(`released_${action}`, price(amount_fen ?? 0), refund_no, `${by_whom}, ${whenOf(released_ms)}`, why);
  const state = refund_state ? ` · ${t(`refund_${refund_state}`)}` : "";
  return make("p", refund_state === "failed" ? "released bad" : "released", text + state);
}

function buttons(one) {
  const [refund, dismiss] = [make("button", "plain small", t("do_refund")), make("button", "plain small", t("do_dismiss"))];
  refund.type = dismiss.type = "button";
  refund.disabled = Boolean(one.why_not);
  const sum = price(one.amount ?? 0);
  refund.addEventListener("click", () => confirm({
    title: t("ask_refund", sum), action: t("do_refund"), danger: true, reason: true,
    lines: [t("ask_refund_1", one.transaction_id), t("ask_refund_2"), t("ask_refund_3")],
    yes: (reason) => release(one, { action: "refund", reason }),
  }));
  dismiss.addEventListener("click", () => confirm({
    title: t("ask_dismiss"), lines: [t("ask_dismiss_1"), t("ask_dismiss_2")], action: t("do_dismiss"), reason: true,
    yes: (reason) => release(one, { action: "dismiss", reason }),
  }));
  return make("div", "buttons", refund, dismiss);
}

async function release(one, body) {
  const reply = await ask("POST", `/ops/quarantine/${one.id}/release`, body);
  if (!reply) return t("lost");
  await showQuarantine();
  if (reply.status === 1) return "";
  return reply.data.why ? `${reply.message}: ${whyOf(reply.data.why)}` : reply.message;
}

find("show-all").addEventListener("click", async () => {
  all = !all;
  find("show-all").setAttribute("aria-pressed", String(all));
  await showQuarantine();
});

find("kept-more").addEventListener("click", async () => {
  pages += 1;
  await showQuarantine();
});
