/** The sky: the round's figures, the one big button, and the line below it. */

import { find, put, putFigure, roll } from "/web/dom.js";
import * as servertime from "/web/servertime.js";
import { number, price, span, t, yuan } from "/web/texts.js";

const TAPPABLE = new Set(["join", "pay", "check_in", "packet"]);
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

/** The button in a state; `doing` is what it says while a tap is being worked on. */
export function showState(state, summary, doing, now) {
  const rules = summary?.rules;
  const button = find("act");
  if (button.dataset.kind !== state.kind) button.dataset.kind = state.kind;
  const busy = doing !== "";
  const idle = busy || !TAPPABLE.has(state.kind);
  if (idle !== (button.getAttribute("aria-disabled") === "true")) button.setAttribute("aria-disabled", String(idle));
  button.disabled = false; // what cannot be tapped says so, and keeps the focus
  button.classList.toggle("busy", busy);
  put(find("act-text"), busy ? t("sending") : t(state.kind, rules ? price(rules.stake_fen) : ""));
  put(find("act-time"), !busy && TIMED.has(state.kind) ? span(state.until - now) : "");
  put(find("hint"), doing || hint(state, rules, now));
  ring(state, now);
  if (rules) sky(now, rules);
}

function hint(state, rules, now) {
  const at = (name) => servertime.timeOf(rules[name]).slice(0, 5);
  switch (state.kind) {
    case "join": return t("join_hint", at("check_in_opens_ms"), at("check_in_closes_ms"));
    case "wait": return t("wait_hint", at("check_in_opens_ms"));
    case "check_in": return rules.extended_s
      ? t("extended_hint", at("check_in_closes_ms"), span(state.until - now))
      : t("check_in_hint", span(state.until - now));
    case "counting": return t("counting_hint", at("settle_ms"));
    case "overslept": return t("overslept_hint", at("settle_ms"));
    case "closed": case "called_off": return t(`${state.kind}_hint`, at("join_opens_ms"));
    case "loading": return "";
    default: return t(`${state.kind}_hint`);
  }
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
