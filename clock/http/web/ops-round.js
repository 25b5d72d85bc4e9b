/** One round: where it is on its way, its figures, its funnel, what was compared; settling, voiding, comparing. */

import { find, make, put } from "/web/dom.js";
import { ask, read } from "/web/ops-api.js";
import { confirm } from "/web/ops-ask.js";
import { bar, curves } from "/web/ops-charts.js";
import { showBooks } from "/web/ops-books.js";
import { showUnanswered } from "/web/ops-money.js";
import { t } from "/web/ops-texts.js";
import * as servertime from "/web/servertime.js";
import { number, price } from "/web/texts.js";

const WAY = ["planned", "joining", "waiting", "checking_in", "closed", "settling", "settled", "finished"];
const HOUR_MS = 3600_000;
const MINUTE_MS = 60_000;
const EXTEND_MINUTES = 10;

export let day = "";
let shown = null;

/** Another day is looked at. */
export async function choose(other) {
  day = other;
  shown = null;
  put(find("round-said"), "");
  find("day").value = day;
  await Promise.all([showRound(), showSteps(), showOutgoing()]);
}

const clockOf = (ms) => servertime.timeOf(ms).slice(0, 5);
const whenOf = (ms) => `${servertime.dayOf(ms).slice(5)} ${clockOf(ms)}`;
const figure = (name, text) => make("div", "", make("dt", "", t(name)), make("dd", "", text));

export async function showRound() {
  const asked = day;
  const reply = await ask("GET", `/ops/rounds/${asked}`);
  if (!reply || asked !== day) return;
  const found = reply.status === 1;
  if (!found && reply.code !== "round_not_found") return;
  find("round-none").hidden = found;
  find("round-body").hidden = !found;
  if (!found) return put(find("state"), "");
  shown = reply.data;
  const { state } = shown;
  put(find("state"), state === "settling" ? t(`step_${shown.step}`) : state === "void" ? t("state_void") : t(state));
  find("way").hidden = state === "void";
  const here = WAY.indexOf(state);
  find("way").replaceChildren(...WAY.map((name, i) => {
    const item = make("li", i < here ? "past" : i === here ? "here" : "", t(name));
    if (i === here) item.setAttribute("aria-current", "step");
    return item;
  }));
  showFigures();
  showCompared();
  showBooks(shown);
  await Promise.all([showUnanswered(asked, shown.unanswered_orders), showDraw(asked)]);
}

/** While a sealed round waits for the draw of the beacon that was promised: which one that is. */
async function showDraw(asked) {
  const proof = shown.step === "sealed" ? await read(`/api/rounds/${asked}/proof`) : null;
  if (asked !== day) return;
  const [, name, number] = proof?.statements.opened?.match(/^beacon: (\S+) \S+ (\d+)$/m) ?? [];
  find("draw").hidden = !number;
  put(find("draw"), number ? t("awaits_draw", name, number) : "");
}

/** A sum that is not fixed before the round is sealed. */
const fixed = (fen) => (["sealed", "split", "published", "settled", "finished", "void"].includes(shown.step) ? price(fen) : "–");

function showFigures() {
  const { members, winners, late, pool, forfeited, fee, carried_in, pot, refunds, refunds_fen } = shown;
  find("figures").replaceChildren(
    figure("members", number(members)), figure("winners", number(winners)), figure("late", number(late)),
    figure("pool", price(pool)), figure("forfeited", fixed(forfeited)), figure("pot", fixed(pot)),
    figure("refunds", `${number(refunds)} · ${price(refunds_fen)}`),
    fee || !carried_in ? figure("fee", fixed(fee)) : figure("carried_in", price(carried_in)),
  );
  find("void-reason").hidden = !shown.void_reason;
  put(find("void-reason"), t("void_reason", shown.void_reason));
  find("extensions").replaceChildren(...shown.extensions.map((one) => make("li", "", t(
    one.cause === "outage" ? "extended_outage" : "extended_operator", clockOf(one.since_ms), number(Math.round(one.by_ms / MINUTE_MS)), number(one.shards), number(one.asleep), one.reason, one.by_whom,
  ))));
  find("extend").disabled = !["planned", "joining", "waiting", "checking_in"].includes(shown.state);
  progress("packets", shown.packets_published, shown.packets);
  progress("claims", shown.packets_claimed, shown.packets_published);
  find("settle").disabled = !["closed", "settling"].includes(shown.state);
  find("void").disabled = !shown.can_be_void || shown.state === "void";
}

function progress(name, part, whole) {
  find(name).closest("label").hidden = !whole;
  find(name).max = whole || 1;
  find(name).value = part;
  put(find(`${name}-text`), t(name, number(part), number(whole)));
}

function showCompared() {
  const { reconciled } = shown;
  const count = reconciled?.differences.length ?? 0;
  const name = reconciled ? (count ? "compared_bad" : "compared_fine") : "compared_never";
  put(find("compared"), t(name, reconciled ? whenOf(reconciled.at_ms) : "", number(count)));
  find("differences").replaceChildren(
    ...(reconciled?.differences ?? []).slice(0, 50).map((one) => make("li", "", make("strong", "", one.what), ` ${one.subject}: ${one.one} ≠ ${one.other}`)),
  );
}

export async function showSteps() {
  const asked = day;
  const data = await read(`/ops/steps/${asked}`);
  if (asked !== day) return;
  const names = (data?.steps ?? ["ordered", "paid", "checked_in", "claimed"]).map((step) => t(step));
  const sums = data ? data.steps.map((step) => data.totals[step]) : [0, 0, 0, 0];
  find("funnel").replaceChildren(...names.map((name, i) => {
    const share = sums[0] ? `${Math.round((1000 * sums[i]) / sums[0]) / 10}%` : "–";
    const sum = make("span", "sum", `${number(sums[i])} `, make("small", "", share));
    return make("li", "", make("span", "", name), bar(i + 1, sums[i], sums[0]), sum);
  }));
  if (shown) drawCurve(data?.minutes ?? [], names, sums);
  showHours(data?.minutes ?? [], names);
}

function drawCurve(rows, names, sums) {
  const { at } = shown;
  const instants = [at.join_opens_ms, at.join_closes_ms, at.check_in_opens_ms, at.check_in_closes_ms, at.settle_ms, at.claim_closes_ms];
  curves(find("curve"), {
    rows, names, from: at.day_starts_ms, to: at.claim_closes_ms, now: servertime.now(), write: whenOf,
    marks: instants.map((ms) => [ms, clockOf(ms)]), label: t("curve", ...sums),
  });
}

/** The same as a table, hour by hour, for who does not see the chart. */
function showHours(rows, names) {
  const hours = new Map();
  for (const [at, ...counts] of rows) {
    const hour = Math.floor(at / HOUR_MS) * HOUR_MS;
    const sums = hours.get(hour) ?? names.map(() => 0);
    hours.set(hour, sums.map((sum, i) => sum + counts[i]));
  }
  const head = make("tr", "", ...[t("hour"), ...names].map((name) => make("th", "", name)));
  for (const cell of head.children) cell.scope = "col";
  find("hours").replaceChildren(head, ...[...hours].map(([hour, sums]) =>
    make("tr", "", make("td", "", whenOf(hour)), ...sums.map((sum) => make("td", "", number(sum)))),
  ));
}

/** Payouts, refunds and withdrawals of the round by state, and what did not arrive of any round. */
export async function showOutgoing() {
  const asked = day;
  const data = await read(`/ops/outgoing?day=${asked}&limit=1`);
  if (!data || asked !== day) return;
  const states = ["owed", "unknown", "processing", "done", "failed"];
  const kinds = ["payout", "refund", "withdrawal"];
  const head = make("tr", "", ...["state", ...kinds].map((name) => make("th", "", t(name))));
  for (const cell of head.children) cell.scope = "col";
  const rows = states.map((state) => {
    const cells = kinds.map((kind) => {
      const one = data.counts.find((count) => count.kind === kind && count.state === state);
      return make("td", one && state === "failed" ? "bad" : "", one ? `${number(one.count)} · ${price(one.fen)}` : "–");
    });
    return make("tr", "", make("td", "", t(`state_${state}`)), ...cells);
  });
  find("outgoing").replaceChildren(head, ...rows);
}

// -- what an operator does

async function act(path, body) {
  put(find("round-said"), t("sent"));
  const reply = await ask("POST", path, body);
  put(find("round-said"), reply ? reply.message : t("lost"));
  if (!reply) return t("lost");
  await showRound();
  return reply.status === 1 ? "" : reply.message;
}

find("settle").addEventListener("click", () => confirm({
  title: t("ask_settle", day), lines: [t("ask_settle_1"), t("ask_settle_2")], action: t("settle"),
  yes: () => act(`/ops/rounds/${day}/settle`, {}),
}));

/** The draw that was promised does not move with check-in. */
function afterDraw() {
  const { draw_ms, at } = shown;
  const closes = at.check_in_closes_ms + EXTEND_MINUTES * MINUTE_MS;
  return draw_ms && closes >= draw_ms ? [t("ask_extend_drawn", clockOf(draw_ms))] : [];
}

find("extend").addEventListener("click", () => confirm({
  title: t("ask_extend", day, EXTEND_MINUTES), action: t("extend"), reason: true,
  lines: [t("ask_extend_1"), ...afterDraw(), t("ask_extend_2")],
  yes: (reason) => act(`/ops/rounds/${day}/extend`, { minutes: EXTEND_MINUTES, reason }),
}));

const untilDraw = () => (shown.draw_ms ? [t("ask_void_until", clockOf(shown.draw_ms))] : []);

find("void").addEventListener("click", () => confirm({
  title: t("ask_void", day), action: t("void"), danger: true, reason: true,
  lines: [t("ask_void_1", number(shown.members), price(shown.pool)), t("ask_void_2"), ...untilDraw(), t("ask_void_3")],
  yes: (reason) => act(`/ops/rounds/${day}/void`, { reason }),
}));

find("compare").addEventListener("click", async () => {
  find("compare").disabled = true;
  put(find("round-said"), t("comparing"));
  const reply = await ask("POST", `/ops/reconcile/${day}`, {});
  put(find("round-said"), reply ? reply.message : t("lost"));
  find("compare").disabled = false;
  await showRound();
});
