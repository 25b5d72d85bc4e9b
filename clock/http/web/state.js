/** Which state the player is in: one pure function of what the service said and of its clock. */

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

const lasting = (kind, more = {}) => ({ kind, until: 0, since: 0, ...more });

/**
 * `view`: `summary` with its instants in `at`; `claimed`, the last claim that was acknowledged to this device; `paying`,
 * the number of the order whose payment is said to be under way; `signedIn`; `expired`, the stake behind a token that
 * is not good any more. `now`: null while the time is not known.
 * Answers `{kind, until, since}`: until when the state lasts by itself, and since when, 0 where nobody knows; of a
 * packet its `round`.
 */
export function stateOf(view, now) {
  const { summary, at, claimed } = view;
  if (view.expired) return lasting("expired");
  if (!summary || now === null) return lasting("loading");
  if (!view.signedIn) return lasting("guest");
  if (summary.clock_status > 0) {
    if (now < at.settles) return beforeSettlement(summary.clock_status, at, now);
    const waits = summary.clock_status === 2 && claimed?.round !== summary.round;
    return waits ? lasting("packet", { round: summary.round }) : lasting("loading");
  }
  const { yesterday } = summary;
  if (hasPacket(yesterday) && claimed?.round !== yesterday.round) return lasting("packet", { round: yesterday.round });
  return beforeJoining(view, now);
}

/** While the settlement is still at work too: a claim waits for it. */
const hasPacket = (round) => round?.clock_status === 2 && round.red_status === 1 && round.state !== "void";

function beforeJoining({ summary, at, paying }, now) {
  const { order } = summary;
  if (order?.state === "checking") return lasting("checking");
  if (order) return lasting(paying === order.order_no ? "confirming" : "pay");
  if (now >= at.joinCloses) return lasting("closed");
  if (summary.is_start) return lasting("join");
  return lasting(summary.server_time < at.joinOpens ? "closed" : "called_off");
}

function beforeSettlement(status, at, now) {
  if (now < at.opens) return { kind: "wait", until: at.opens, since: at.opens - 24 * 3600_000 };
  if (status === 2) return { kind: "counting", until: at.settles, since: at.opens };
  if (now < at.closes) return { kind: "check_in", until: at.closes, since: at.opens };
  return { kind: "overslept", until: at.settles, since: at.closes };
}
