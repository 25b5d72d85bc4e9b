/** Which state the player is in: one pure function of what the service said and of its clock. */

import { dayOf } from "/web/servertime.js";

/** The instants of the shown round, as the summary has them: a window may have become longer since it was opened. */
export function instants({ rules }) {
  return {
    opens: rules.check_in_opens_ms,
    closes: rules.check_in_closes_ms,
    settles: rules.settle_ms,
    joinCloses: rules.join_closes_ms,
    joinOpens: rules.join_opens_ms,
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
