/** What is read and not played: my mornings and money, talents, the board, the last round. What the service does not
 *  have, or cannot say now, stays hidden. */

import { session, orNull, send } from "/web/api.js";
import { find, icon, make, put } from "/web/dom.js";
import * as servertime from "/web/servertime.js";
import { days, has, number, price, t, tongue, yuan } from "/web/texts.js";

const PAGE = 10;

/** The data of a GET, or null where there is none to be had. */
async function read(path) {
  const reply = await orNull(send("GET", path));
  return reply?.status === 1 ? reply.data : null;
}

const figure = (name, text) => make("div", "", make("dt", "", t(name)), make("dd", "", text));

/** Answers what was said of the caller; null where nothing was, nothing where another user is here meanwhile. */
export async function showMe() {
  const who = session.caller;
  const data = who && (await read("/api/me"));
  if (who !== session.caller) return undefined;
  find("info-card").hidden = !data;
  if (!data) return null;
  const { info } = data;
  const mornings = [["streak", "streak_day_num"], ["long_days", "long_day_num"], ["clock_days", "clock_day_num"]];
  find("info").replaceChildren(
    ...mornings.filter(([, field]) => field in info).map(([name, field]) => figure(name, days(info[field]))),
    figure("joined", number(info.join_num)),
    figure("income", price(info.income_money)),
    figure("best", price(info.max_money)),
  );
  put(find("my-number"), t("my_number", who.uid));
  return data;
}

/** Another user, or none, is here: what was the last one's goes at once. */
export function forgetMe() {
  find("info-card").hidden = true;
  find("events").replaceChildren();
  find("events-help").hidden = true;
}

/** A list that grows by pages: `path` of a page (null: there is nothing to ask for), `row` makes an item's element. */
function paged(list, path, row) {
  let [page, asked] = [0, 0];
  const more = find(`${list}-more`);
  async function show(wanted) {
    const mine = ++asked;
    const from = path();
    const data = from ? await read(`${from}page=${wanted}&limit=${PAGE}`) : { total: 0, items: [] };
    if (!data || mine !== asked) return;
    page = wanted;
    if (page === 1) find(list).replaceChildren();
    find(list).append(...data.items.map(row));
    find(`${list}-empty`).hidden = data.total > 0;
    more.hidden = page * PAGE >= data.total;
  }
  more.addEventListener("click", () => show(page + 1));
  return () => show(1);
}

export const showHistory = paged("events", () => session.caller && "/api/me/history?", (item) => {
  const name = `state_${item.state}`;
  const when = `${servertime.dayOf(item.created_at)} ${servertime.timeOf(item.created_at).slice(0, 5)}`;
  const sign = item.money < 0 ? "−" : item.money > 0 ? "+" : "";
  if (item.state === "failed") find("events-help").hidden = false;
  return make(
    "li", "",
    make("div", "", make("strong", "", item.title), make("small", "soft", has(name) ? `${when} · ${t(name)}` : when), ...(item.no ? [make("small", "soft", item.no)] : [])),
    make("span", item.money < 0 ? "money out" : "money in", `${sign}${yuan(Math.abs(item.money))}`),
  );
});

const TURNING = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** Nicknames are the users' own words: text, never markup, and nothing that turns the text around it. */
const who = (person) => person.nickname.replace(TURNING, "").trim() || person.mobile;

export const showBoard = paged("ranks", () => "/api/board?", (item) =>
  make(
    "li", item.rank <= 3 ? `top top${item.rank}` : "",
    make("span", "rank", item.rank),
    make("div", "", make("bdi", "name", who(item)), make("small", "soft", item.mobile)),
    make("span", "money in", price(item.income_money)),
  ),
);

/** The published figures of a round. */
export const roundOf = (day) => read(`/api/rounds/${day}`);

/** The last settled round: its talents, and its published figures, which are answered. */
export async function showLastRound() {
  const talents = await read("/api/talents");
  const round = talents?.round ? await roundOf(talents.round) : null;
  find("talents-card").hidden = !talents?.round;
  find("round-card").hidden = !round;
  if (talents?.round) showTalents(talents, round);
  if (round) showRound(round);
  return round;
}

/** Nobody is the best of a round in which nobody got up, or nothing was shared; the luckiest is known last. */
function showTalents(talents, round) {
  const later = (name) => name === "luckiest" && round?.winners > 0 && round.pot > 0;
  const best = [
    ["longest", (one) => days(one.days)],
    ["luckiest", (one) => price(one.money)],
    ["earliest", (one) => servertime.timeOf(one.checked_in_at)],
  ];
  find("talents").replaceChildren(
    ...best.map(([name, figureOf]) => {
      const one = talents[name];
      const text = one ? [make("bdi", "name", who(one)), make("span", "best", figureOf(one))] : [make("span", "soft", t(later(name) ? "not_yet" : "nobody"))];
      return make("li", "", icon(name), make("small", "soft", t(name)), ...text);
    }),
  );
}

function showRound(round) {
  put(find("round-day"), round.day);
  find("round-figures").hidden = round.members === 0;
  find("round-empty").hidden = round.members > 0;
  find("round-figures").replaceChildren(
    figure("members", number(round.members)),
    figure("winners", number(round.winners)),
    figure("missed", number(round.members - round.winners)),
    figure("pot", price(round.pot)),
    figure("largest", price(round.largest ?? 0)),
    figure("smallest", price(round.smallest ?? 0)),
  );
  const longest = Math.max(0, ...round.extensions.map((one) => one.by_ms));
  find("round-extended").hidden = !longest;
  const [first] = round.extensions.filter((one) => one.by_ms === longest);
  put(find("round-extended"), longest ? t(first.cause === "outage" ? "round_outage" : "round_operator", servertime.timeOf(first.since_ms).slice(0, 5), Math.round(longest / 60_000), first.reason) : "");
  put(find("seed-hash"), round.seed_hash);
  put(find("seed"), round.seed ?? "–");
}

/** The rules of the shown round, with the way that winnings leave (`push` or `pull`), and below them what will be different in `next`, the next round that is known. */
export function showRules(rules, next, way) {
  const lines = linesOf(rules, way);
  show("rules", lines);
  const other = next ? linesOf(next.rules, way).filter((line) => !lines.includes(line)) : [];
  const campaign = next?.campaign?.[tongue.language] ?? "";
  find("next").hidden = other.length === 0 && !campaign;
  put(find("next-title"), next ? t("next_title", next.round) : "");
  put(find("next-campaign"), campaign);
  show("next-rules", other);
}

function show(list, lines) {
  const shown = Array.from(find(list).children, (line) => line.textContent);
  if (shown.join("\n") === lines.join("\n")) return;
  find(list).replaceChildren(...lines.map((line) => make("li", "", line)));
}

function linesOf(rules, way) {
  const at = (name) => servertime.timeOf(rules[name]).slice(0, 5);
  const until = (name) => at(name).replace("00:00", "24:00");
  return [
    t("rule_1", at("join_opens_ms"), until("join_closes_ms"), price(rules.stake_fen), at("settle_ms")),
    t("rule_2", at("check_in_opens_ms"), at("check_in_closes_ms")),
    t(rules.split === "equal" ? "rule_3_equal" : "rule_3", at("settle_ms")),
    ...(rules.bonus_fen ? [t("rule_bonus", price(rules.bonus_fen))] : []),
    ...(rules.lucky_count ? [t("rule_lucky", number(rules.lucky_count), percent(rules.lucky_bps))] : []),
    ...(rules.packet_cap_fen ? [t("rule_cap", price(rules.packet_cap_fen))] : []),
    t("rule_4", until("claim_closes_ms")),
    t(`rule_${way}`),
    t("rule_5"),
    t(rules.nobody === "carry" ? "rule_6_carry" : "rule_6"),
    rules.fee_bps ? t("rule_7_fee", percent(rules.fee_bps)) : t("rule_7"),
  ];
}

const percent = (bps) => `${bps / 100}%`;
