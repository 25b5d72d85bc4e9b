/** The book of rules: what days are like, planning other rules with a preview, taking a plan back. */

import { find, make, put } from "/web/dom.js";
import { ask, read } from "/web/ops-api.js";
import { confirm } from "/web/ops-ask.js";
import { r, translateRules } from "/web/ops-rules-texts.js";
import * as servertime from "/web/servertime.js";
import { price, tongue } from "/web/texts.js";

const DAY_MS = 24 * 3600_000;
const SHOWN_DAYS = 31;
const MOST_DAYS = 62;
const CHANGES = 50;

/** What a change may name: how it is asked for, and whether it stands above the fold. */
const FIELDS = {
  stake_fen: "yuan", bonus_fen: "yuan", lucky_count: "count", lucky_bps: "count", check_in_opens: "time", check_in_closes: "time", settle_at: "time",
  join_opens: "time", join_closes: "time", claim_closes: "time", split: ["random", "equal"], nobody: ["refund", "carry"], fee_bps: "count", packet_cap_fen: "yuan", shards: "count", order_prefix: "text",
};
const FIRST = Object.keys(FIELDS).slice(0, 7);

let from = "";
let book = null;
let preview = null;
let said = "";

const later = (day, days) => new Date(Date.parse(`${day}T00:00:00Z`) + days * DAY_MS).toISOString().slice(0, 10);
const whenOf = (ms) => `${servertime.dayOf(ms)} ${servertime.timeOf(ms)}`;
const spanOf = ({ first_day, last_day }) => (!last_day ? r("from_on", first_day) : first_day === last_day ? first_day : r("until", first_day, last_day));

function worth(name, value) {
  if (value === null) return "–";
  if (name === "campaign") return value[tongue.language === "en" ? "en" : "zh"];
  return name.endsWith("_fen") ? price(value) : Array.isArray(FIELDS[name]) ? r(value) : String(value);
}

const label = (name) => r(name).replace(/[（(].*/, "").trim();
const saidOf = (terms) => Object.entries(terms).map(([name, value]) => `${label(name)} ${worth(name, value)}`).join(", ");

export async function showRules() {
  translateRules();
  const data = await read(`/ops/rules?days=${SHOWN_DAYS}&limit=${CHANGES}${from && `&from=${from}`}`);
  if (!data) return;
  book = data;
  from ||= data.today;
  find("rules-from").value = from;
  const text = JSON.stringify([data, preview, r("rules")]);
  if (text === said) return;
  said = text;
  const differs = Object.entries(data.environment).map(([name, one]) => `${label(name)} ${worth(name, one.environment)} (${worth(name, one.book)})`);
  find("rules-environment").hidden = !differs.length;
  put(find("rules-environment"), r("environment", differs.join(", ")));
  find("rules-changes").replaceChildren(...data.changes.map(change));
  find("rules-none").hidden = data.changes.length > 0;
  showDays();
  fields();
}

// -- the calendar

function showDays() {
  const days = preview?.days ?? book.days;
  find("rules-days").replaceChildren(...days.map((one, i) => day(one, preview?.before[i]?.rules)));
  find("rules-preview-end").hidden = !preview;
  const touched = preview && days.filter((one, i) => differences(one.rules, preview.before[i].rules).length).length;
  put(find("rules-previewed"), !preview ? "" : touched ? r("previewed") + (preview.endless ? `, ${r("more_days")}` : "") : r("nothing_new"));
}

/** Names of rules that differ. */
function differences(rules, other) {
  return Object.keys(rules).filter((name) => JSON.stringify(rules[name]) !== JSON.stringify(other[name]));
}

/** A day: its rules where they differ from the default; in a preview what would be other is marked. */
function day({ day: date, open, rules }, before) {
  const other = differences(rules, before ?? book.default);
  const entry = make("li", before && other.length ? "touched" : "", make("strong", "", date.slice(5)));
  if (open) entry.append(make("span", "badge", r("is_open")));
  entry.append(make("span", "soft", `${price(rules.stake_fen)} · ${rules.check_in_opens}–${rules.check_in_closes}`));
  for (const name of other) entry.append(make("span", "other", `${label(name)} ${before ? `${worth(name, before[name])} → ` : ""}${worth(name, rules[name])}`));
  entry.dataset.day = date;
  return entry;
}

async function move(to) {
  if (!to) return;
  [from, preview] = [to, null];
  await showRules();
}

find("rules-from").addEventListener("change", () => move(find("rules-from").value));
find("rules-earlier").addEventListener("click", () => move(later(from, -SHOWN_DAYS)));
find("rules-later").addEventListener("click", () => move(later(from, SHOWN_DAYS)));
find("rules-preview-end").addEventListener("click", () => move(from));

// -- planning

/** The questions of the form, once a language; what was typed stays. */
function fields() {
  if (find("rules-fields").dataset.lang === tongue.language) return;
  find("rules-fields").dataset.lang = tongue.language;
  const typed = Object.fromEntries(Object.keys(FIELDS).map((name) => [name, find(`rule-${name}`)?.value ?? ""]));
  find("rules-fields").replaceChildren(...FIRST.map(field));
  find("rules-more").replaceChildren(...Object.keys(FIELDS).filter((name) => !FIRST.includes(name)).map(field));
  for (const [name, value] of Object.entries(typed)) find(`rule-${name}`).value = value;
}

function field(name) {
  const kind = FIELDS[name];
  const input = make(Array.isArray(kind) ? "select" : "input", "");
  input.id = `rule-${name}`;
  if (Array.isArray(kind)) {
    input.append(...["", ...kind].map((value) => Object.assign(make("option", "", value ? r(value) : r("unchanged")), { value })));
  } else {
    Object.assign(input, { type: "text", autocomplete: "off", spellcheck: false, inputMode: kind === "yuan" ? "decimal" : kind === "count" ? "numeric" : "text" });
    input.placeholder = name === "bonus_fen" ? "0" : kind === "yuan" ? String(book.default[name] / 100) : String(book.default[name]);
  }
  const text = make("label", "", r(name));
  text.htmlFor = input.id;
  return make("div", "field", text, input);
}

/** Yuan as typed, in fen, or the text where it is no amount: the service says so. */
const fenOf = (text) => (/^\d{1,10}(\.\d{1,2})?$/.test(text) ? Math.round(Number(text) * 100) : text);

/** What was filled in, as the service takes it, or the name of the sentence that says what is missing. */
function filledIn() {
  const [first_day, last_day] = [find("rules-first").value, find("rules-last").value || null];
  if (!first_day) return "first_day_needed";
  const [zh, en] = [find("rules-zh").value.trim(), find("rules-en").value.trim()];
  if (Boolean(zh) !== Boolean(en)) return "both_names";
  const plan = { first_day, last_day, changes: {}, campaign: zh ? { zh, en } : null, bonus_fen: null };
  for (const [name, kind] of Object.entries(FIELDS)) {
    const text = find(`rule-${name}`).value.trim();
    if (!text) continue;
    const value = kind === "yuan" ? fenOf(text) : kind === "count" && /^\d+$/.test(text) ? Number(text) : text;
    if (name === "bonus_fen") plan.bonus_fen = value;
    else plan.changes[name] = value;
  }
  return plan;
}

function tell(text, bad = true) {
  put(find("rules-said"), text);
  find("rules-said").classList.toggle("bad", bad && Boolean(text));
}

const refusal = ({ message, data }) => [message, data.day, data.why].filter(Boolean).join(" · ");

/** Asks what the days would be like, and shows it; the plan, or null where it is refused. */
async function look() {
  const plan = filledIn();
  if (typeof plan === "string") return tell(r(plan)), null;
  const reply = await ask("POST", "/ops/rules", { ...plan, preview: true });
  if (reply?.status !== 1) return tell(reply ? refusal(reply) : r("lost")), null;
  const now = await read(`/ops/rules?from=${plan.first_day}&days=${Math.min(MOST_DAYS, reply.data.days.length)}&limit=1`);
  if (!now) return tell(r("lost")), null;
  tell("");
  preview = { days: reply.data.days, before: now.days, endless: !plan.last_day };
  showDays();
  return { plan, bonus_fen: reply.data.bonus_fen };
}

find("rules-preview").addEventListener("click", look);
find("rules-plan").addEventListener("submit", async (event) => {
  event.preventDefault();
  const seen = await look();
  if (!seen) return;
  const lines = [saidOf(named(seen.plan)), r("ask_days", preview.endless ? `${preview.days.length}+` : preview.days.length)];
  if (seen.bonus_fen) lines.push(r("ask_bonus", price(seen.bonus_fen)));
  confirm({
    title: r("ask_plan", spanOf(seen.plan)), lines: [...lines, r("ask_until")], action: r("plan"), reason: true,
    yes: async (reason) => {
      const reply = await ask("POST", "/ops/rules", { ...seen.plan, reason });
      if (reply?.status !== 1) return reply ? refusal(reply) : r("lost");
      find("rules-plan").reset();
      tell(r("done"), false);
      await move(seen.plan.first_day);
      return "";
    },
  });
});

// -- what was planned

/** Everything that a change names. */
function named({ changes, campaign, bonus_fen }) {
  return { ...changes, ...(campaign && { campaign }), ...(bonus_fen && { bonus_fen }) };
}

function change(one) {
  const head = make("div", "head", make("strong", "", spanOf(one)), make("span", "soft", r("by", one.by_whom, whenOf(one.planned_at_ms), one.id)));
  const entry = make("li", "", head, make("span", "", saidOf(named(one))), make("span", "soft", r("why", one.reason)));
  entry.dataset.change = one.id;
  if (one.taken_back_by) {
    entry.append(make("p", "released", r("taken_back", one.taken_back_by, whenOf(one.taken_back_at_ms), one.taken_back_reason)));
  } else if (one.first_day >= book.today) {
    const button = make("button", "plain small", r("take_back"));
    button.type = "button";
    button.addEventListener("click", () => confirm({
      title: r("ask_take_back", one.id), lines: [saidOf(named(one)), r("ask_take_back_1")], action: r("take_back"), danger: true, reason: true,
      yes: (reason) => takeBack(one.id, reason),
    }));
    entry.append(make("div", "buttons", button));
  }
  return entry;
}

async function takeBack(number, reason) {
  const reply = await ask("POST", `/ops/rules/${number}/take-back`, { reason });
  if (reply?.status !== 1) return reply ? refusal(reply) : r("lost");
  tell(r("gone"), false);
  preview = null;
  await showRules();
  return "";
}
