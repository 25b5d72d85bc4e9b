/** The sky: the round's figures, the one big button, and the line below it. */

import { find, put, putFigure, roll } from "/web/dom.js";
import * as servertime from "/web/servertime.js";
import { number, price, span, t, yuan } from "/web/texts.js";

const TAPPABLE = new Set(["join", "pay", "check_in", "packet"]);
/** How long the button is dead when it gets another meaning: a finger may be on its way to the old one. */
const DEAD_MS = 1_000;
const TIMED = new Set(["wait", "counting", "overslept"]);
const HOUR_MS = 3_600_000;

/** The figures of a summary. */
export function showFigures(summary) {
  const yesterday = servertime.dayOf(summary.server_time) !== summary.round;
  find("pool-name").dataset.t = yesterday ? "pool_yesterday" : "pool";
  put(find("pool-name"), t(find("pool-name").dataset.t));
  roll(find("pool"), summary.clock_money, yuan);
  roll(find("people"), summary.user_num, number);
  // Nobody can be up before the morning: until then, what was in yesterday's pool.
  find("second-name").dataset.t = yesterday ? "risers" : "yest_pool";
  put(find("second-name"), t(find("second-name").dataset.t));
  find("risers").hidden = !yesterday;
  find("yest-pool").hidden = yesterday;
  roll(find("risers"), summary.clock_user_num, number);
  putFigure(find("yest-pool"), price(summary.yest_money));
}

/** What a tap meant last, and until when. */
const meant = { kind: "", until: 0 };

/** Whether a tap may mean `kind` now: never at once after it meant something else. */
function means(kind) {
  const now = performance.now();
  if (meant.kind && meant.kind !== kind && now < meant.until + DEAD_MS) return false;
  Object.assign(meant, { kind, until: now });
  return true;
}

/** What a tap on the button means as it is shown; "" while it means nothing. */
export const tappable = () => (find("act").getAttribute("aria-disabled") === "true" ? "" : find("act").dataset.kind);

/** The button in a state; `doing` is what it says while a tap is being worked on. `now`: null while it is not known. */
export function showState(state, view, doing, now) {
  const rules = view.summary?.rules;
  const button = find("act");
  if (button.dataset.kind !== state.kind) button.dataset.kind = state.kind;
  const busy = doing !== "";
  const idle = busy || !TAPPABLE.has(state.kind) || !means(state.kind);
  if (idle !== (button.getAttribute("aria-disabled") === "true")) button.setAttribute("aria-disabled", String(idle));
  button.disabled = false; // what cannot be tapped says so, and keeps the focus
  button.classList.toggle("busy", busy);
  put(find("act-text"), busy ? t("sending") : t(state.kind, rules ? price(view.summary.order?.amount ?? rules.stake_fen) : ""));
  put(find("act-time"), !busy && TIMED.has(state.kind) ? span(state.until - now) : "");
  put(find("hint"), doing || hint(state, view, now));
  ring(state, now ?? 0);
  if (rules && now !== null) sky(now, rules);
}

function hint(state, view, now) {
  const rules = view.summary?.rules;
  const at = (name) => servertime.timeOf(rules[name]).slice(0, 5);
  switch (state.kind) {
    case "join": return t(`join_hint_${view.summary.way}`, at("check_in_opens_ms"), at("check_in_closes_ms"));
    case "wait": return t("wait_hint", at("check_in_opens_ms"));
    case "check_in": return rules.extended_s
      ? t("extended_hint", at("check_in_closes_ms"), span(state.until - now))
      : t("check_in_hint", span(state.until - now));
    case "counting": return t("counting_hint", at("settle_ms"));
    case "overslept": return t("overslept_hint", at("settle_ms"));
    case "closed": case "called_off": return t(`${state.kind}_hint`, at("join_opens_ms"));
    case "expired": return expiredHint(view.expired.stake, now);
    case "loading": return view.summary ? t("loading_hint") : "";
    default: return t(`${state.kind}_hint`);
  }
}

function expiredHint(stake, now) {
  if (!stake || now === null || now >= stake.check_in_closes_ms) return t("expired_hint");
  const closes = servertime.timeOf(stake.check_in_closes_ms).slice(0, 5);
  return t("expired_stake", price(stake.stake_fen), stake.round, closes);
}

/** How much of the wait is over. */
function ring(state, now) {
  const part = state.until ? (now - state.since) / (state.until - state.since) : 0;
  find("ring").setAttribute("stroke-dashoffset", String(100 - 100 * Math.min(1, Math.max(0, part))));
}

/** Night until an hour before check-in opens, dawn until it is over, then day, and night again from the evening. */
function sky(now, rules) {
  const time = servertime.sinceMidnight(servertime.timeOf(now));
  const dawn = servertime.sinceMidnight(servertime.timeOf(rules.check_in_opens_ms)) - HOUR_MS;
  const day = servertime.sinceMidnight(servertime.timeOf(rules.check_in_closes_ms));
  find("sky").dataset.sky = time < dawn || time >= 18 * HOUR_MS ? "night" : time < day ? "dawn" : "day";
}
