/** The players' page: asks, keeps what was answered, and shows it. Nothing is shown as done before the service said so. */

import { Later, Lost, caller, events, orNull, persist, send, signIn, sleep, takeFromAddress, verb } from "/web/api.js";
import * as check from "/web/check.js";
import { find, put } from "/web/dom.js";
import { connectHost } from "/web/host.js";
import { device, tab } from "/web/kept.js";
import * as lists from "/web/lists.js";
import * as packet from "/web/packet.js";
import * as servertime from "/web/servertime.js";
import { instants, stateOf } from "/web/state.js";
import { price, switchLanguage, t, translate } from "/web/texts.js";
import { showFigures, showState } from "/web/today.js";

const POLL_MS = 10_000;
const HIDDEN_POLL_MS = 60_000;
const CONFIRM_MS = 1_000;
const CONFIRM_TRIES = 30;
const EARLY_TRIES = 5;
const TICK_MS = 200;
const BOOKED_MS = 1_500;
const ORDERED = "clock.order";
const PATIENCE_MS = 1_500;

const rules = JSON.parse(document.querySelector("meta[name=clock-rules]").content);
servertime.useZone(rules.timezone);

const view = { summary: null, at: {}, morning: {}, order: null, signedIn: false };
/** The last settled round, the caller's money events in it, and the day of a round of theirs that was called off. */
const past = { round: null, kinds: null, calledOff: null };
let doing = "";
let last = "";
let pollTimer = 0;
let pollNumber = 0;
let stale = false;
let lastRoundShown = null;

/** Other tabs; none where they cannot be told (before iOS 15.4). */
const neighbours = "BroadcastChannel" in globalThis ? new BroadcastChannel("clock") : null;
neighbours?.addEventListener("message", again);

// -- what the service says

/** Asks for the summary now, and plans the next question: rarer while nobody looks, never at one instant for all. */
async function poll() {
  clearTimeout(pollTimer);
  const mine = ++pollNumber;
  let next = document.hidden ? HIDDEN_POLL_MS : POLL_MS;
  try {
    const asked = performance.now();
    const who = caller;
    const reply = who ? await verb("/api/summary", profile()) : await send("GET", "/api/summary");
    const { summary } = reply.data;
    if (summary) servertime.learn(summary.server_time, asked, performance.now());
    const morning = summary && (await morningOf(summary));
    if (mine !== pollNumber || who !== caller) return;
    if (summary) take(summary, morning);
  } catch (error) {
    if (error instanceof Later) next = Math.max(next, error.seconds * 1000);
    else if (!(error instanceof Lost)) throw error;
  }
  if (mine === pollNumber) pollTimer = setTimeout(poll, next * (0.7 + 0.6 * Math.random()));
}

const profile = () => {
  const { mobile, nickname, openId } = caller;
  return mobile || nickname || openId ? { extra: { mobile, nickname, openId } } : {};
};

function take(summary, morning) {
  const news = view.summary?.round !== summary.round || view.summary.is_alert !== summary.is_alert;
  stale = false;
  Object.assign(view, { summary, morning, at: instants(summary), signedIn: caller !== null });
  check.note(summary.round, summary.seed_hash);
  put(find("seed-next"), `${summary.round} ${summary.seed_hash}`);
  const late = view.order?.paying && view.order.round !== summary.round && !summary.clock_status;
  if (view.order && (summary.clock_status > 0 || view.order.round !== summary.round)) hold(null);
  showFigures(summary);
  showResult();
  showRemind(summary);
  if (news) lastRoundShown = showLastRound();
  render();
  if (late) say(t("order_late"), true);
}

/** Something may have happened elsewhere: nothing that is remembered of this morning is taken for granted. */
function again() {
  stale = true;
  poll();
}

/** Whether the caller checked in this morning, and has opened the packet; asked anew for a new day or another round. */
async function morningOf(summary) {
  const day = servertime.dayOf(summary.server_time);
  if (!stale && view.morning.day === day && view.summary?.round === summary.round) return view.morning;
  const who = caller;
  if (!who) return { day };
  const { yesterday } = (await send("GET", "/api/me/yesterday")).data;
  if (!yesterday) return { day };
  const kept = device.get(claimedKey(who));
  const claimed = kept?.day === day ? kept.assign : yesterday.red_status === 2 ? {} : null;
  return { day, joined: yesterday.clock_status > 0, checkedIn: yesterday.clock_status === 2, claimed };
}

const claimedKey = (who) => `clock.claimed.${who.uid}`;

// -- what the player does

/** A line below the sky: good news, or `bad` ones. */
function say(text, bad = false) {
  find("said").classList.toggle("bad", bad);
  put(find("said"), text);
}

/** Runs what a tap asks for, once at a time; the button says so meanwhile. */
async function act() {
  const { kind } = stateOf(view, servertime.now());
  if (doing || !caller || !(kind in ACTIONS)) return;
  doing = t("sending");
  render();
  try {
    await ACTIONS[kind]();
  } catch (error) {
    if (!(error instanceof Lost || error instanceof Later)) throw error;
    if (caller) say(t("gave_up"), true);
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
  const { mobile, nickname, openId } = caller;
  const reply = await persist(() => verb("/api/join", { extra: { mobile, nickname, openId } }), waitLine);
  say(reply.message, reply.status !== 1);
  if (reply.status === 1) hold({ ...reply.data, uid: caller.uid, round: view.summary.round, paying: false });
  else await poll();
  if (view.order) pay();
}

/** Hands the order to whoever can pay it, and waits for the service to say that it is paid. */
function pay() {
  const order = view.order;
  const request = new CustomEvent("clock:pay", { detail: { ...order, done: () => confirm(order) }, cancelable: true });
  if (dispatchEvent(request)) say(t("no_payer"), true);
}

/** The order that waits to be paid outlives the page: paying may lead away from it and back. */
function hold(order) {
  view.order = order;
  tab.set(ORDERED, order);
}

function takeOrder() {
  const order = tab.get(ORDERED);
  if (!order || order.uid !== caller?.uid) return;
  view.order = order;
  if (order.paying) confirm(order);
}

async function confirm(order) {
  order.paying = true;
  hold(order);
  render();
  for (let tries = 0; view.order === order && tries < CONFIRM_TRIES; tries++) {
    await poll();
    if (view.order === order) await sleep(CONFIRM_MS * (0.8 + 0.4 * Math.random()));
  }
  if (view.order === order) {
    order.paying = false;
    hold(order);
    say(t("not_confirmed"), true);
  } else if (order.uid === caller?.uid && view.summary?.clock_status > 0) {
    say(t("paid"));
    changed();
    setTimeout(poll, CONFIRM_MS); // so that I am among the people: totals may be a quarter of a second old
  }
  render();
}

/** The instants of our estimate and of the service's clock differ by some milliseconds: too early is asked again. */
async function checkIn() {
  let reply;
  for (let tries = 0; tries < EARLY_TRIES; tries++) {
    reply = await persist(() => verb("/api/check-in"), waitLine);
    if (reply.code !== "too_early") break;
    await sleep(200 + 200 * Math.random());
  }
  say(reply.message, reply.status !== 1);
  if (reply.status === 1 && view.at.settles) view.summary.clock_status = 2;
  if (reply.status === 1) changed();
  await poll();
}

const ACTIONS = { join, pay, check_in: checkIn, packet: packet.offer };

/** Something was acknowledged: other tabs look again, and the lists once the books have it. */
function changed() {
  neighbours?.postMessage("changed");
  setTimeout(showLists, BOOKED_MS * (1 + Math.random()));
}

function claimed(assign) {
  view.morning = { ...view.morning, checkedIn: true, claimed: assign };
  device.set(claimedKey(caller), { day: view.morning.day, assign });
  showResult();
  changed();
}

/** The result has been seen: it is not brought up again. */
async function acknowledge() {
  const reply = await orNull(persist(() => verb("/api/alert/ack"), () => {}));
  if (reply?.status !== 1 || !view.summary) return;
  view.summary.is_alert = 0;
  showResult();
}

async function showLastRound() {
  const who = caller;
  const round = await lists.showLastRound();
  const kinds = round?.late && view.summary?.is_alert ? await lists.kindsIn(round.day) : null;
  const calledOff = await calledOffOf(round);
  if (who !== caller) return;
  Object.assign(past, { round: round ?? past.round, kinds, calledOff });
  if (view.summary) showResult();
}

/** Yesterday's round, if it was called off and the caller had paid for it: nothing else would tell them. */
async function calledOffOf(settled) {
  const yesterday = servertime.dayOf(servertime.now() - 24 * 3600_000);
  if (!caller || view.summary?.round !== servertime.dayOf(servertime.now()) || settled?.day === yesterday) return null;
  const round = await lists.roundOf(yesterday);
  if (round?.state !== "void" || !round.members) return null;
  return (await lists.kindsIn(yesterday))?.includes("stake") ? yesterday : null;
}

/** What this morning brought: the opened packet all day long; a result that has not been seen, until it has. */
function showResult() {
  const won = view.morning.claimed?.total ? view.morning.claimed : null;
  const waits = !won && view.summary.is_alert === 1 && !(view.morning.checkedIn && !view.morning.claimed);
  const calledOff = !won && !waits && past.calledOff !== null;
  find("result").hidden = !(won || waits || calledOff);
  find("result").classList.toggle("won", won !== null);
  find("result-done").hidden = !waits;
  const [title, text] = won
    ? [t("result_won", price(won.money)), t("result_won_text", price(won.money), price(won.stake), price(won.total))]
    : calledOff
      ? [t("result_void"), t("result_void_text")]
      : unseen();
  put(find("result-title"), title);
  put(find("result-text"), text);
  if (past.round) check.offer(past.round, won && isOfThisMorning(past.round) ? won.money : null, caller !== null);
}

const isOfThisMorning = (round) => view.morning.day === servertime.dayOf(Date.parse(round.day) + 36 * 3600_000);

/** A result that waits: this morning's, of one who did not check in, or an older one. */
function unseen() {
  const { joined, checkedIn } = view.morning;
  const { round, kinds } = past;
  if (!(round && isOfThisMorning(round) && joined && !checkedIn)) return [t("result_old"), t("result_old_text")];
  if (kinds?.includes("refund") && round.winners) return [t("result_missed"), t("result_late_text")];
  if (round.late && round.winners) return [t("result_missed"), t("result_maybe_late_text")];
  if (round.winners) return [t("result_missed"), t("result_missed_text")];
  return [t("result_missed"), t(round.rules.nobody === "carry" ? "rule_6_carry" : "rule_6")];
}

// -- the reminder

function showRemind(summary) {
  find("remind-card").hidden = !caller || !rules.remind_at;
  find("remind").setAttribute("aria-checked", String(summary.is_remind === 1));
}

async function switchRemind() {
  const on = find("remind").getAttribute("aria-checked") !== "true";
  const reply = await orNull(persist(() => verb("/api/remind", { on }), say));
  if (reply?.status !== 1) return say(reply?.message ?? t("gave_up"), true);
  view.summary.is_remind = reply.data.is_remind;
  showRemind(view.summary);
  say(t(reply.data.is_remind ? "remind_is_on" : "remind_is_off"));
}

// -- the page

/** Runs several times a second: texts change only when they must, and an instant needs no request to come. What a tap
 *  has changed is announced when the tap is done with, and leaves standing what was `said` of it. */
function render({ said = false } = {}) {
  const now = servertime.now();
  const state = stateOf(view, now);
  showState(state, view.summary, doing, now);
  if (!servertime.known()) return;
  put(find("now"), servertime.timeOf(now));
  if (state.kind === last || doing) return;
  if (last && last !== "loading") {
    put(find("announced"), `${find("act-text").textContent} ${find("hint").textContent}`);
    if (!said) say("");
    if (["loading", "closed"].includes(state.kind)) setTimeout(poll, 1000 * Math.random());
  }
  last = state.kind;
}

const isVisible = (id) => find(id).getClientRects().length > 0;

/** Only what can be seen is asked for: when everybody gets up, a phone that shows the button asks for no board. */
async function showVisible() {
  const mine = isVisible("me") ? [lists.showMe(), lists.showHistory()] : [];
  await Promise.all([...mine, isVisible("board") && lists.showBoard()]);
}

async function showLists() {
  await Promise.all([showVisible(), (isVisible("today") || isVisible("board")) && showLastRound()]);
}

function tell() {
  translate();
  lists.showRules(rules);
  put(find("remind-text"), t("remind_text", rules.remind_at));
  if (view.summary) {
    showFigures(view.summary);
    showResult();
  }
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

function another() {
  Object.assign(view, { summary: null, at: {}, morning: {}, order: null, signedIn: caller !== null });
  Object.assign(past, { kinds: null, calledOff: null });
  last = "";
  packet.close();
  lists.forgetMe();
  poll();
  showVisible();
}

for (const name of ["lost", "away"]) {
  events.addEventListener(name, () => {
    put(find("lost"), t(name));
    find("lost").hidden = false;
  });
}
events.addEventListener("found", () => (find("lost").hidden = true));
events.addEventListener("expired", () => {
  say(t("signed_out"), true);
  dispatchEvent(new CustomEvent("clock:expired", { detail: {} }));
});
for (const name of ["online", "offline", "clock:moved"]) addEventListener(name, again);
addEventListener("pageshow", (event) => event.persisted && again()); // it has slept in the browser's cache
matchMedia("(min-width: 900px)").addEventListener("change", showLists);
document.addEventListener("visibilitychange", again);

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
  button.addEventListener("click", () => look(button.dataset.to));
}
packet.prepare(claimed, async () => {
  if (view.morning.claimed) await acknowledge();
  poll();
});

takeFromAddress();
events.addEventListener("caller", another);
addEventListener("hashchange", takeFromAddress);
connectHost();
find("tongue").dataset.t = "other";
tell();
// The cards come all at once, instead of pushing one another down as the answers arrive.
document.body.classList.add("pending");
const first = Promise.all([poll().then(() => lastRoundShown), showVisible()]);
Promise.race([first, sleep(PATIENCE_MS)]).finally(() => document.body.classList.remove("pending"));
takeOrder();
document.documentElement.dataset.started = "";
setInterval(() => render(), TICK_MS);
