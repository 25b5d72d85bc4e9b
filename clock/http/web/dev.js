/** Development only: a bar that travels through time and switches users, and the sandbox provider's till. */

import { Later, Lost, session, events, send, signIn, sleep } from "/web/api.js";
import { closeDialog, find, make, openDialog, put } from "/web/dom.js";
import * as servertime from "/web/servertime.js";
import { price, t } from "/web/texts.js";

const DAY_MS = 24 * 3600_000;
/** For how long the service may show the same totals. */
const TOTALS_MS = 250;
const USERS = [7, 8, 9];
const NEIGHBOURS = [101, 102, 103, 104, 105];
const TIMES = ["20:00:00", "04:59:55", "05:00:00", "07:59:55", "08:04:55", "08:05:00", "00:00:00"];

const personOf = (uid) => ({
  openId: `open-${uid}`,
  mobile: `138${String(uid).padStart(8, "0")}`,
  nickname: t("neighbour", uid),
});

async function ask(method, path, body) {
  try {
    const reply = await send(method, path, body);
    put(find("dev-said"), `${reply.code}`);
    return reply;
  } catch (error) {
    if (!(error instanceof Lost || error instanceof Later)) throw error;
    put(find("dev-said"), error.message);
    return { status: 0, data: {} };
  }
}

/** Counts choices: a token that comes late must not undo a later one. */
let choices = 0;

async function become(uid) {
  const mine = ++choices;
  const reply = await ask("POST", "/dev/token", { uid });
  if (reply.status === 1 && mine === choices) signIn({ token: reply.data.token, uid, ...personOf(uid) });
}

function leave() {
  choices += 1;
  signIn(null);
}

/** Always forward: to the next instant at which the game's clock shows that time. */
async function travel(time) {
  const now = servertime.now();
  const left = servertime.sinceMidnight(time) - servertime.sinceMidnight(servertime.timeOf(now));
  const target = Math.floor(now / 1000) * 1000 + (left > 0 ? left : left + DAY_MS);
  await ask("PUT", "/dev/time", { now: new Date(target).toISOString() });
  dispatchEvent(new Event("clock:moved"));
}

async function comeBack() {
  await ask("DELETE", "/dev/time");
  dispatchEvent(new Event("clock:moved"));
}

/** Some others join and pay, so that there is something to share: they will oversleep. */
async function neighbours() {
  for (const uid of NEIGHBOURS) {
    const { data } = await ask("POST", "/dev/token", { uid });
    const options = { method: "POST", headers: { authorization: `Bearer ${data.token}` } };
    const reply = await fetch("/api/join", { ...options, body: JSON.stringify({ uid, extra: personOf(uid) }) });
    const order = (await reply.json()).data.order_no;
    if (order) await ask("POST", "/dev/pay", { order_no: order });
  }
  await sleep(TOTALS_MS);
  dispatchEvent(new Event("clock:moved"));
}

// -- the till

const till = make("dialog", "till");
till.setAttribute("aria-labelledby", "till-title");
document.body.append(till);

/** What the provider would ask its user: a number, a sum, and a button that says what a tap does. */
function offer(number, amount, text, yes) {
  const title = make("h2", "", "Sandbox");
  title.id = "till-title";
  const [agree, no] = [make("button", "till-yes", text), make("button", "plain", t("close"))];
  agree.addEventListener("click", () => {
    closeDialog(till);
    yes();
  });
  no.addEventListener("click", () => closeDialog(till));
  till.replaceChildren(title, make("p", "soft", number), make("p", "till-sum", price(amount)), agree, no);
  openDialog(till);
}

addEventListener("clock:pay", (event) => {
  if (event.defaultPrevented) return; // a host takes it
  event.preventDefault();
  const { order_no, amount, done } = event.detail;
  offer(order_no, amount, t("pay", price(amount)), () => {
    ask("POST", "/dev/pay", { order_no });
    done();
  });
});

addEventListener("clock:confirm", (event) => {
  if (event.defaultPrevented) return;
  event.preventDefault();
  const { no, amount, done } = event.detail;
  offer(no, amount, t("withdraw_confirm", price(amount)), () => ask("POST", "/dev/confirm", { no }).then(done));
});

// -- the bar

function chip(text, name, run) {
  const button = make("button", "chip", text);
  button.type = "button";
  button.dataset.dev = name;
  button.addEventListener("click", run);
  return button;
}

const users = [
  ...USERS.map((uid) => chip(`#${uid}`, `user-${uid}`, () => become(uid))),
  chip("guest", "guest", leave),
  chip("+5", "neighbours", neighbours),
];
const times = [...TIMES.map((time) => chip(time.replace(/:00$/, ""), time, () => travel(time))), chip("now", "now", comeBack)];
const said = make("output", "dev-said");
said.id = "dev-said";
const bar = make("aside", "dev", make("strong", "", "dev"), ...users, ...times, said);
bar.setAttribute("aria-label", "Development");
document.body.prepend(bar);

/** Whose button is pressed; and they pay as `/dev/pay` does, because an order has one way. */
function mark() {
  if (session.caller) session.caller.how ||= "jsapi";
  for (const [i, uid] of USERS.entries()) users[i].setAttribute("aria-pressed", String(session.caller?.uid === uid));
}
events.addEventListener("caller", mark);
if (session.caller) mark();
else if (parent === window) become(USERS[0]); // in a frame the host says who it is
