/** The players' page: asks, keeps what was answered, and shows it. Nothing is shown as done before the service said so. */

import { Later, Lost, askSummary, events, orNull, persist, session, sleep, takeFromAddress, verb } from "/web/api.js";
import * as check from "/web/check.js";
import { find, put } from "/web/dom.js";
import { connectHost } from "/web/host.js";
import { device } from "/web/kept.js";
import * as lists from "/web/lists.js";
import * as packet from "/web/packet.js";
import * as paying from "/web/paying.js";
import { note } from "/web/noted.js";
import * as receipts from "/web/receipts.js";
import { keepClaim, keptClaim, showResult } from "/web/result.js";
import * as servertime from "/web/servertime.js";
import { instants, stateOf } from "/web/state.js";
import { switchLanguage, t, translate } from "/web/texts.js";
import { showFigures, showState, tappable } from "/web/today.js";
import * as wayout from "/web/wayout.js";

const POLL_MS = 10_000;
const HIDDEN_POLL_MS = 60_000;
const UNKNOWN_POLL_MS = 1_000;
const EARLY_TRIES = 5;
const TICK_MS = 200;
const SLEPT_MS = 2_000;
const BOOKED_MS = 1_500;
const PATIENCE_MS = 1_500;
const IDLE_MS = 60_000;
/** Nothing of a player's is under way in these: the page may open its new document. */
const SAFE = new Set(["guest", "wait", "counting", "overslept", "closed", "called_off"]);
const STAKE = "clock.stake";

const view = { summary: null, at: {}, claimed: null, paying: null, signedIn: false, expired: null };
let past = null; // the last settled round's published figures
let doing = "";
let last = "";
let pollTimer = 0;
let pollNumber = 0;
let lastRoundShown = null;
let ran = { wall: Date.now(), steady: performance.now() };
let touched = performance.now();

/** Other tabs; none where they cannot be told (before iOS 15.4). */
const neighbours = "BroadcastChannel" in globalThis ? new BroadcastChannel("clock") : null;
neighbours?.addEventListener("message", poll);

// -- what the service says

/** Asks for the summary now, and plans the next question: rarer while nobody looks, never at one instant for all. What
 *  was asked before is not waited for: it may say what a tap has changed since. */
async function poll() {
  clearTimeout(pollTimer);
  const mine = ++pollNumber;
  let next = document.hidden ? HIDDEN_POLL_MS : POLL_MS;
  try {
    const who = session.caller;
    const { asked, reply } = await askSummary();
    if (mine !== pollNumber || who !== session.caller) return;
    const { summary } = reply.data;
    if (summary) {
      servertime.useZone(summary.rules.timezone);
      servertime.learn(summary.server_time, asked, performance.now());
      take(summary);
    }
  } catch (error) {
    if (!(error instanceof Lost || error instanceof Later)) throw error;
    if (!servertime.known()) next = UNKNOWN_POLL_MS;
    if (error instanceof Later) next = Math.max(next, error.seconds * 1000);
  }
  if (mine === pollNumber) pollTimer = setTimeout(poll, next * (0.7 + 0.6 * Math.random()));
}

function take(summary) {
  const news = !view.summary || ["round", "is_alert"].some((name) => view.summary[name] !== summary[name]);
  globalThis.clockFirst.renew(summary.page);
  Object.assign(view, { summary, at: instants(summary), signedIn: session.caller !== null });
  if (session.caller) device.set(STAKE, stakeOf(summary));
  const now = servertime.now();
  const isRush = now >= view.at.opens && now < view.at.closes;
  note(summary, isRush);
  if (session.caller && now < view.at.settles) receipts.complete(summary.round, wanted(summary.clock_status, isRush));
  receipts.look(summary.round, summary.yesterday);
  put(find("seed-next"), `${summary.round} ${summary.seed_hash}`);
  showSummary();
  if (news) lastRoundShown = showLastRound();
  if (wayout.isMoving() && isVisible("me") && !document.hidden) showMe();
  render();
}

/** The receipts that the caller can have; while everybody checks in, only what belongs to it is asked for. */
const wanted = (status, isRush) => [...(status > 0 && !isRush ? ["stake"] : []), ...(status === 2 ? ["checked_in"] : [])];

/** What the caller has at stake until the check-in closes. */
function stakeOf({ clock_status, round, rules }) {
  if (clock_status !== 1) return null;
  return { uid: session.caller.uid, round, stake_fen: rules.stake_fen, check_in_closes_ms: rules.check_in_closes_ms };
}

function showSummary() {
  const { summary, claimed } = view;
  showFigures(summary);
  showResult(summary, claimed, past);
  receipts.show();
  packet.explain(claimed, summary.result);
  lists.showRules(summary.rules, summary.next, summary.way);
  showRemind(summary);
}

// -- what the player does

/** A line below the sky: good news, or `bad` ones. */
function say(text, bad = false) {
  find("said").classList.toggle("bad", bad);
  put(find("said"), text);
}

/** Runs what a tap asks for, once at a time; the button says so meanwhile. A tap means what the button said. */
async function act() {
  const kind = tappable();
  if (doing || !session.caller || !(kind in ACTIONS)) return;
  doing = t("sending");
  render();
  try {
    await ACTIONS[kind]();
  } catch (error) {
    if (!(error instanceof Lost || error instanceof Later)) throw error;
    if (session.caller) say(t("gave_up"), true);
  } finally {
    doing = "";
    render({ said: true });
  }
}

const waitLine = (text) => {
  doing = text;
  render();
};

async function join() {
  const ordered = (given) => {
    view.summary.order = { order_no: given.order_no, amount: given.amount, state: "open" };
    render();
  };
  const { reply, missing } = await paying.order(waitLine, ordered, confirm);
  if (reply.status !== 1) say(reply.message, true);
  else if (missing) say(t(missing), true);
  if (reply.status !== 1) await poll();
}

/** The host says that the order is paid: until the service says so too, it is not. */
async function confirm(order, round = view.summary.round) {
  if (view.paying === order.order_no) return;
  const who = session.caller;
  view.paying = order.order_no;
  render();
  const found = await paying.confirm(order, round, poll, stateOfOrder);
  if (who !== session.caller) return;
  view.paying = null;
  render();
  if (found === "paid") {
    say(t("paid"));
    changed();
    setTimeout(poll, 1000); // so that I am among the people: totals may be a quarter of a second old
  } else if (found !== "checking") {
    say(t(found === "gone" ? "order_late" : "not_confirmed"), true);
  }
}

function stateOfOrder({ order_no, round }) {
  const { summary } = view;
  if (!summary) return "open";
  if (summary.round !== round) return "gone";
  if (summary.clock_status > 0) return "paid";
  return summary.order?.order_no === order_no ? summary.order.state : "gone";
}

/** The instants of our estimate and of the service's clock differ by some milliseconds: too early is asked again. */
async function checkIn() {
  let reply;
  for (let tries = 0; tries < EARLY_TRIES; tries++) {
    reply = await persist(() => verb("/api/check-in", { receipt: true }), waitLine);
    if (reply.code !== "too_early") break;
    await sleep(200 + 200 * Math.random());
  }
  say(reply.message, reply.status !== 1);
  if (reply.data.receipt) receipts.keep(reply.data.receipt);
  if (reply.status === 1 && view.at.settles) view.summary.clock_status = 2;
  if (reply.status === 1) changed();
  await poll();
}

const ACTIONS = { join, pay: join, check_in: checkIn, packet: packet.offer };

/** Something was acknowledged: other tabs look again, and the lists once the books have it. */
function changed() {
  neighbours?.postMessage("changed");
  setTimeout(showLists, BOOKED_MS * (1 + Math.random()));
}

function claimed(assign) {
  const { round } = stateOf(view, servertime.now());
  if (round) {
    view.claimed = { round, assign };
    keepClaim(view.claimed);
  }
  showSummary();
  changed();
  poll();
}

/** The result has been seen: it is not brought up again. */
async function acknowledge() {
  const reply = await orNull(persist(() => verb("/api/alert/ack"), () => {}));
  if (reply?.status !== 1 || !view.summary) return;
  Object.assign(view.summary, { is_alert: 0, result: null });
  showSummary();
  await poll();
}

async function showLastRound() {
  past = (await lists.showLastRound()) ?? past;
  if (!past || !view.summary) return;
  const mine = view.claimed?.round === past.day ? view.claimed.assign.money : null;
  check.offer(past, mine, session.caller !== null);
  showResult(view.summary, view.claimed, past);
}

// -- the reminder

function showRemind({ is_remind, rules }) {
  find("remind-card").hidden = !session.caller || !rules.remind_at_ms;
  find("remind").setAttribute("aria-checked", String(is_remind === 1));
  put(find("remind-text"), rules.remind_at_ms ? t("remind_text", servertime.timeOf(rules.remind_at_ms).slice(0, 5)) : "");
}

async function switchRemind() {
  const on = find("remind").getAttribute("aria-checked") !== "true";
  const reply = await orNull(persist(() => verb("/api/remind", { on }), say));
  if (reply?.status !== 1) return say(reply?.message ?? t("gave_up"), true);
  view.summary.is_remind = reply.data.is_remind;
  showRemind(view.summary);
  say(t(reply.data.is_remind ? "remind_is_on" : "remind_is_off"));
  await poll(); // an answer that was asked for before would switch it back
}

// -- the page

/** Runs several times a second: texts change only when they must, and an instant needs no request to come. What a tap
 *  has changed is announced when the tap is done with, and leaves standing what was `said` of it. */
function render({ said = false } = {}) {
  noticeSleep();
  const now = servertime.known() ? servertime.now() : null;
  const state = stateOf(view, now);
  showState(state, view, doing, now);
  if (now === null) return;
  put(find("now"), servertime.timeOf(now));
  openNewDocument(state.kind);
  if (state.kind === last || doing) return;
  if (last && last !== "loading") {
    put(find("announced"), `${find("act-text").textContent} ${find("hint").textContent}`);
    if (!said) say("");
    if (["loading", "closed"].includes(state.kind)) setTimeout(poll, 1000 * Math.random());
  }
  last = state.kind;
}

/** A phone that sleeps may stop the steady clock: afterwards the time is not known until the service says it. */
function noticeSleep() {
  const [wall, steady] = [Date.now(), performance.now()];
  const slept = Math.abs(wall - ran.wall - (steady - ran.steady)) > SLEPT_MS;
  ran = { wall, steady };
  if (!slept) return;
  servertime.forget();
  poll();
}

function openNewDocument(kind) {
  const idle = document.hidden || performance.now() - touched > IDLE_MS;
  const { renewed, reopen } = globalThis.clockFirst;
  if (renewed && idle && !doing && SAFE.has(kind) && !document.querySelector("dialog[open]")) reopen();
}

const showMe = async () => wayout.show(await lists.showMe());

const isVisible = (id) => find(id).getClientRects().length > 0;

/** Only what can be seen is asked for: when everybody gets up, a phone that shows the button asks for no board. */
async function showVisible() {
  const mine = isVisible("me") ? [showMe(), lists.showHistory()] : [];
  await Promise.all([...mine, isVisible("board") && lists.showBoard()]);
}

async function showLists() {
  await Promise.all([showVisible(), (isVisible("today") || isVisible("board")) && showLastRound()]);
}

function tell() {
  translate();
  if (view.summary) showSummary();
  render();
}

function look(name) {
  document.body.dataset.view = name;
  for (const button of document.querySelectorAll(".tabs button")) {
    if (button.dataset.to === name) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
  scrollTo(0, 0);
  showLists();
}

/** *Back* leads from the board and from *me* to today, and from there out of the page. */
function go(name) {
  const here = history.state?.view ?? "today";
  if (name === "today" && here !== "today") return history.back();
  if (name !== "today" && here === "today") history.pushState({ view: name }, "");
  else history.replaceState({ view: name }, "");
  look(name);
}

function another() {
  const expired = session.caller ? null : view.expired;
  if (session.caller) say("");
  Object.assign(view, { summary: null, at: {}, claimed: keptClaim(), paying: null, signedIn: session.caller !== null, expired });
  last = "";
  packet.close();
  lists.forgetMe();
  wayout.show(null);
  receipts.show();
  const kept = paying.underWay();
  return Promise.all([kept ? confirm(kept, kept.round) : poll(), showVisible()]);
}

/** The host hears of it, and the player what is at stake. */
function expired() {
  const kept = device.get(STAKE);
  const stake = kept?.uid === session.caller.uid ? kept : null;
  device.set(STAKE, null);
  view.expired = { stake };
  dispatchEvent(new CustomEvent("clock:expired", { detail: { uid: session.caller.uid, stake } }));
}

for (const name of ["lost", "away"]) {
  events.addEventListener(name, () => {
    put(find("lost"), t(name));
    find("lost").hidden = false;
  });
}
events.addEventListener("found", () => (find("lost").hidden = true));
events.addEventListener("expired", expired);
for (const name of ["online", "offline", "clock:moved"]) addEventListener(name, poll);
for (const name of ["pointerdown", "keydown", "scroll"]) {
  addEventListener(name, () => (touched = performance.now()), { passive: true });
}
addEventListener("pageshow", (event) => event.persisted && poll()); // it has slept in the browser's cache
addEventListener("popstate", (event) => look(event.state?.view ?? "today"));
matchMedia("(min-width: 900px)").addEventListener("change", showLists);
document.addEventListener("visibilitychange", poll);

find("act").addEventListener("click", act);
find("remind").addEventListener("click", switchRemind);
find("result-done").addEventListener("click", async () => {
  await acknowledge();
  find("act").focus();
});
find("tongue").addEventListener("click", () => {
  switchLanguage();
  tell();
  showLists();
});
for (const button of document.querySelectorAll(".tabs button")) {
  button.addEventListener("click", () => go(button.dataset.to));
}
const closed = async (opened) => (opened ? acknowledge() : poll());
packet.prepare(claimed, closed, () => view.summary.way);

wayout.prepare(showMe, showLists);

find("tongue").dataset.t = "other";
takeFromAddress();
events.addEventListener("caller", another);
addEventListener("hashchange", takeFromAddress);
connectHost();
tell();
if (history.state?.view) look(history.state.view);
// The cards come all at once, instead of pushing one another down as the answers arrive.
document.body.classList.add("pending");
Promise.race([another().then(() => lastRoundShown), sleep(PATIENCE_MS)]).finally(() => document.body.classList.remove("pending"));
document.documentElement.dataset.started = "";
setInterval(render, TICK_MS);
