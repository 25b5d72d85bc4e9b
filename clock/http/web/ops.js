/** The operators' page: who comes in, and what is asked how often. */

import { find, put } from "/web/dom.js";
import { ask, events, keep, read, signedIn } from "/web/ops-api.js";
import { showActs } from "/web/ops-acts.js";
import { ring, showLive } from "/web/ops-live.js";
import { showUnsent } from "/web/ops-money.js";
import { showQuarantine } from "/web/ops-quarantine.js";
import { retell } from "/web/ops-people.js";
import { choose, day, showOutgoing, showRound, showSteps } from "/web/ops-round.js";
import { showRules } from "/web/ops-rules.js";
import { t, translate } from "/web/ops-texts.js";
import { showWork } from "/web/ops-work.js";
import * as servertime from "/web/servertime.js";
import { switchLanguage } from "/web/texts.js";

const DAY_MS = 24 * 3600_000;
const LIVE_MS = 2_000;
const EVERY = { work: 1_000, round: 5_000, steps: 10_000, quarantine: 10_000, unsent: 10_000, outgoing: 60_000, acts: 10_000, rules: 30_000 };
const SHOW = { work: showWork, round: showRound, steps: showSteps, quarantine: showQuarantine, unsent: () => showUnsent(live), outgoing: showOutgoing, acts: showActs, rules: showRules };

let live = null;

// -- the door

function showDoor(why = "") {
  const inside = signedIn();
  find("door").hidden = inside;
  find("room").hidden = !inside;
  find("leave").hidden = !inside;
  put(find("door-said"), why ? t(why) : "");
  if (inside) return;
  ring(0);
  find("token").focus();
}

events.addEventListener("refused", (event) => {
  keep("");
  find("ask").close();
  showDoor(event.detail);
});
events.addEventListener("lost", () => {
  put(find("lost"), t("lost"));
  find("lost").hidden = false;
});
events.addEventListener("found", () => (find("lost").hidden = true));

async function enter(token) {
  keep(token);
  live = null;
  showDoor();
  await look();
}

find("enter").addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = find("token").value.trim();
  find("token").value = "";
  if (token) await enter(token);
});
find("leave").addEventListener("click", () => {
  keep("");
  showDoor();
});
if (document.querySelector('meta[name="clock-env"]').content === "dev") {
  find("dev-enter").hidden = false;
  find("dev-enter").addEventListener("click", async () => {
    const reply = await ask("POST", "/dev/token", { uid: 1, role: "operator" });
    if (reply?.status === 1) await enter(reply.data.token);
  });
}

// -- looking

/** The live figures; the first ones also say which day it is, and thus which round to show. */
async function look() {
  if (!signedIn()) return;
  const asked = performance.now();
  const data = await read("/ops/live");
  if (!data) return;
  if (data.now_ms) servertime.learn(data.now_ms, asked, performance.now());
  servertime.useZone(data.timezone);
  const first = live === null;
  live = data;
  showLive(live);
  if (first) {
    await Promise.all([choose(day || roundOfNow()), showWork(), showQuarantine(), showUnsent(live), showActs(), showRules()]);
    await showSteps();
  }
}

// Whoever has just done something looks for it among what was done.
find("ask").addEventListener("close", () => live && signedIn() && showActs());

/** Until noon the round of the morning matters, if anybody plays in it; then the one that is being joined. */
function roundOfNow() {
  const { yesterday, today } = live.days;
  if (!yesterday) return servertime.dayOf(servertime.now());
  return servertime.timeOf(servertime.now()) < "12:00:00" && live.rounds.yesterday.members ? yesterday : today;
}

/** Asks again and again, never twice at once, and not while nobody looks. */
function repeat(ms, run) {
  const again = async () => {
    if (!document.hidden && signedIn()) await run();
    setTimeout(again, ms);
  };
  setTimeout(again, ms);
}

repeat(LIVE_MS, look);
for (const [name, ms] of Object.entries(EVERY)) repeat(ms, () => live && SHOW[name]());
setInterval(() => servertime.known() && put(find("now"), servertime.timeOf(servertime.now())), 250);

// -- days and languages

const shift = (days) => new Date(Date.parse(`${day}T00:00:00Z`) + days * DAY_MS).toISOString().slice(0, 10);
find("day-before").addEventListener("click", () => choose(shift(-1)));
find("day-after").addEventListener("click", () => choose(shift(1)));
find("day").addEventListener("change", () => find("day").value && choose(find("day").value));

function speak() {
  translate();
  put(find("tongue"), t("other"));
  find("tongue").lang = document.documentElement.lang === "en" ? "zh-CN" : "en";
}
find("tongue").addEventListener("click", async () => {
  switchLanguage();
  speak();
  if (live) {
    showLive(live);
    retell();
    await Promise.all(Object.values(SHOW).map((show) => show()));
  }
});

speak();
showDoor();
await look();
