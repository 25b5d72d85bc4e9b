/** Finding a user by any number that users can tell, and a user's whole story. */

import { find, make, put } from "/web/dom.js";
import { ask, read } from "/web/ops-api.js";
import { confirm } from "/web/ops-ask.js";
import { has, t } from "/web/ops-texts.js";
import * as servertime from "/web/servertime.js";
import { number, price } from "/web/texts.js";

let people = [];
let sought = "";
let story = null;
let page = 1;

const whenOf = (ms) => `${servertime.dayOf(ms).slice(5)} ${servertime.timeOf(ms)}`;

find("seek").addEventListener("submit", async (event) => {
  event.preventDefault();
  sought = find("sought").value.trim();
  if (!sought) return;
  const data = await read(`/ops/find?q=${encodeURIComponent(sought)}`);
  if (!data) return put(find("found-said"), t("lost"));
  people = data.items;
  story = null;
  if (people.length === 1) await open(people[0].uid);
  retell();
});

/** Says again what is shown, in the language of now. */
export function retell() {
  put(find("found-said"), sought ? (people.length ? t("found_count", number(people.length)) : t("found_none")) : "");
  find("found").replaceChildren(...people.map(one));
  tell();
}

function one(person) {
  const button = make("button", "link", t("user", person.uid));
  button.type = "button";
  button.addEventListener("click", () => open(person.uid));
  return make("li", "", make("div", "head", button, make("bdi", "", person.nickname || t("no_name")), make("span", "soft", person.mobile)));
}

async function open(uid, at = 1) {
  const data = await read(`/ops/people/${uid}?page=${at}`);
  if (!data) return;
  page = at;
  story = at === 1 ? data : { ...data, ...Object.fromEntries(["rounds", "payments", "outgoing", "quarantine"].map((name) => [name, [...story[name], ...data[name]]])) };
  tell();
  if (at === 1) find("story").focus({ preventScroll: false });
}

find("story-more").addEventListener("click", () => open(story.person.uid, page + 1));

function tell() {
  find("story").hidden = !story;
  find("story-more").hidden = !story?.more;
  if (!story) return;
  const { person, info } = story;
  const head = make("h3", "", `${t("user", person.uid)} · `, make("bdi", "", person.nickname || t("no_name")));
  const sums = t("story_sums", price(info.spend_money), price(info.income_money), price(info.balance), number(info.join_num), number(info.clock_day_num));
  find("story").replaceChildren(
    head, make("p", "soft", [person.mobile, person.open_id].filter(Boolean).join(" · ")), make("p", "note", sums),
    ...(info.balance > 0 ? [withdraw(person.uid, info.balance)] : []),
    ...list("story_rounds", story.rounds, round), ...list("story_payments", story.payments, payment),
    ...list("story_outgoing", story.outgoing, sent), ...list("story_quarantine", story.quarantine, kept),
  );
}

/** Sends the whole balance, as the user could. */
function withdraw(uid, balance) {
  const button = make("button", "plain small", t("do_withdraw", price(balance)));
  button.type = "button";
  button.addEventListener("click", () => confirm({
    title: t("ask_withdraw", price(balance), uid), action: t("do_withdraw", price(balance)), danger: true, reason: true,
    lines: [t("ask_withdraw_1"), t("ask_withdraw_2")],
    yes: async (reason) => {
      const reply = await ask("POST", `/ops/people/${uid}/withdraw`, { reason });
      if (reply?.status === 1) await open(uid);
      return reply ? (reply.status === 1 ? "" : reply.message) : t("lost");
    },
  }));
  return button;
}

function list(name, rows, write) {
  const items = rows.length ? rows.map(write) : [make("li", "soft", t("story_none"))];
  return [make("h3", "", t(name)), make("ul", "items", ...items)];
}

const entry = (name, said, fen, ...codes) => make("li", "", make("div", "head", make("strong", "", name), make("span", "soft", said), fen === null ? "" : make("span", "money", price(fen))), ...codes.filter(Boolean).map((code) => make("code", "", code)));

function round(row) {
  const steps = [t("story_ordered", whenOf(row.ordered_ms))];
  if (row.member_ms) steps.push(t("story_member", whenOf(row.member_ms)) + (row.late ? t("story_late") : ""));
  if (row.checked_in_ms) steps.push(t("story_checked_in", whenOf(row.checked_in_ms), number(row.rank)));
  if (row.claimed_ms) steps.push(t(row.claimed_by === "system" ? "story_claimed_system" : "story_claimed", whenOf(row.claimed_ms), price(row.packet_fen)));
  return entry(row.day, steps.join(" · "), row.amount_fen, t("order_no", row.order_no));
}

const payment = (row) => entry(row.outcome, `${row.channel} · ${whenOf(row.at_ms)}`, row.amount_fen, t("order_no", row.order_no), t("transaction", row.transaction_id));
const sent = (row) => entry(`${t(row.kind)} · ${t(`state_${row.state}`)}`, `${row.day} · ${whenOf(row.ended_ms ?? row.at_ms)}`, row.amount_fen, row.sent_as, row.reason && t("reason", row.reason));
const kept = (row) => entry(has(`why_${row.reason}`) ? t(`why_${row.reason}`) : row.reason, whenOf(row.at_ms), null, t("order_no", row.order_no));
