/** Which state the player is in: one pure function of what the service said and of its clock. */

import { dayOf, sinceMidnight } from "/web/servertime.js";

/** A summary's countdowns, which are whole seconds rounded up, as instants; 0 where it says nothing of them. Windows
 *  open on whole seconds. Closing and settlement are told of rounds that the caller is in. */
export function instants(summary, rules) {
  const at = (left) => (left > 0 ? Math.floor((summary.server_time + left * 1000) / 1000) * 1000 : 0);
  const after = (from, to) => sinceMidnight(rules[to]) - sinceMidnight(rules[from]);
  const settles = summary.clock_status && summary.clock_time
    ? at(summary.clock_time) + after("check_in_opens", "settle_at")
    : at(summary.red_time);
  return {
    opens: at(summary.clock_time) || (settles && settles - after("check_in_opens", "settle_at")),
    closes: settles && settles - after("check_in_closes", "settle_at"),
    settles,
    joinCloses: at(summary.zero_time),
    joinOpens: at(summary.zero_time) && at(summary.zero_time) - after("join_opens", "join_closes"),
  };
}

const lasting = (kind) => ({ kind, until: 0, since: 0 });

/**
 * `view`: `summary` with its instants in `at`; `morning`, what is known of the round whose check-in day is `morning.day`
 * (`checkedIn`, `claimed`); `order`, placed and not known to be paid; `signedIn`.
 * Answers `{kind, until, since}`: until when the state lasts by itself, and since when, 0 where nobody knows.
 */
export function stateOf(view, now) {
  const { summary, at, order, signedIn } = view;
  if (!summary) return lasting("loading");
  if (!signedIn) return lasting("guest");
  const today = dayOf(now);
  const morning = view.morning.day === today ? view.morning : {};
  if (at.settles && now < at.settles && summary.round < today) return beforeSettlement(summary.clock_status, at, now);
  const up = summary.round < today ? summary.clock_status === 2 : morning.checkedIn;
  if (up && !morning.claimed) return lasting("packet");
  if (summary.round < today) return lasting("loading");
  if (summary.clock_status > 0) return waiting(at);
  if (order) return lasting(order.paying ? "confirming" : "pay");
  if (now >= at.joinCloses) return lasting("closed");
  if (summary.is_start) return lasting("join");
  return lasting(summary.server_time < at.joinOpens ? "closed" : "called_off");
}

function beforeSettlement(status, at, now) {
  if (now < at.opens) return waiting(at);
  if (status === 2) return { kind: "counting", until: at.settles, since: at.opens };
  if (now < at.closes) return { kind: "check_in", until: at.closes, since: at.opens };
  return { kind: "overslept", until: at.settles, since: at.closes };
}

const waiting = (at) => ({ kind: "wait", until: at.opens, since: at.opens - 24 * 3600_000 });
