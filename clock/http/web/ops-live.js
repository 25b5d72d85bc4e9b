/** What happens now: alarms, throughput, latency, batches, the outbox, and which parts answer. */

import { find, make, put } from "/web/dom.js";
import { spark } from "/web/ops-charts.js";
import { lasting, t } from "/web/ops-texts.js";
import { number, price } from "/web/texts.js";

const REMEMBERED = 90;
const WORST = new Set(["redis_away", "postgres_away", "worker_away", "replica_short", "clocks_differ", "redis_behind", "books_behind", "books_differ", "promises", "log_contradicted", "settlement_late", "money_failed"]);
const SECTIONS = { quarantine: "quarantine-name", money_failed: "money-name", money_stuck: "money-name", books_differ: "round-name" };

const past = { rate: [], p99: [], outbox: [] };

function remember(name, value) {
  past[name].push(value);
  if (past[name].length > REMEMBERED) past[name].shift();
  spark(find(`${name}-line`), past[name], REMEMBERED);
}

/** Bytes, as people read them. */
const size = (bytes) => `${number(Math.round(bytes / 2 ** 20))} MiB`;

const WORDS = {
  replica_short: (one) => [t("replica_short"), t("replica_short_text", one.replicas)],
  clocks_differ: (one) => [t("clocks_differ", Object.entries(one.clocks).map(([name, ms]) => `${name} ${ms > 0 ? "+" : "−"}${lasting(Math.abs(ms) / 1000)}`).join(", ")), t("clocks_differ_text")],
  redis_behind: (one) => [t("redis_behind", one.day, number(one.count)), t("redis_behind_text", one.day)],
  books_behind: (one) => [t("books_behind", one.day, number(one.count)), t("books_behind_text", one.day)],
  books_differ: (one) => [t("books_differ", number(one.count)), t("books_differ_text")],
  promises: (one) => [t("promises", number(one.count)), t("promises_text", one.day)],
  settlement_late: (one) => [t("settlement_late", one.day), t("settlement_late_text", lasting(one.seconds))],
  draw_awaited: (one) => [t("draw_awaited", one.day), t("draw_awaited_text", lasting(one.seconds))],
  draw_failed: (one) => [t("draw_failed", one.day), t("draw_failed_text")],
  log_contradicted: (one) => [t("log_contradicted", one.witness), t("log_contradicted_text", one.said)],
  log_waiting: (one) => [t("log_waiting"), t("log_waiting_text", lasting(one.seconds))],
  witness_silent: (one) => [t("witness_silent", one.witness), t("witness_silent_text", lasting(one.seconds), one.said)],
  outbox_old: (one) => [t("outbox_old", "", lasting(one.seconds)), t("outbox_old_text", number(one.count))],
  partitions_missing: (one) => [t("partitions_missing", number(one.count)), t("partitions_missing_text", one.day)],
  disk_low: (one) => [t("disk_low", one.percent), t("disk_low_text")],
  postgres_age: (one) => [t("postgres_age", one.percent), t("postgres_age_text")],
  postgres_disk: (one) => [t("postgres_disk", one.percent), t("postgres_disk_text", size(one.count))],
  redis_disk: (one) => [t("redis_disk", one.percent), t("redis_disk_text", size(one.count))],
  redis_memory: (one) => [t("redis_memory", one.percent), t("redis_memory_text", size(one.count))],
  postgres_connections: (one) => [t("postgres_connections", one.percent), t("postgres_connections_text", number(one.count))],
  postgres_locks: (one) => [t("postgres_locks", one.percent), t("postgres_locks_text", number(one.count))],
  redis_connections: (one) => [t("redis_connections", one.percent), t("redis_connections_text", number(one.count))],
  archive_due: (one) => [t("archive_due", number(one.count)), t("archive_due_text", one.month)],
  dead_rows: (one) => [t("dead_rows", one.table), t("dead_rows_text", number(one.count))],
  host_clock: (one) => [t("host_clock", one.host, `${one.ahead_ms > 0 ? "+" : "−"}${lasting(Math.abs(one.ahead_ms) / 1000)}`), t("host_clock_text")],
  bad_signatures: (one) => [t("bad_signatures", number(one.count)), t("bad_signatures_text")],
  channel_silent: (one) => [t("channel_silent", one.channel), t("channel_silent_text", lasting(one.seconds))],
  connections: (one) => [t("connections_alarm", one.percent), t("connections_alarm_text", number(one.count))],
  failing: (one) => [t("failing"), t("failing_text", one.per_second)],
  money_failed: (one) => [t("money_failed", number(one.count)), t("money_failed_text", "", price(one.fen))],
  money_stuck: (one) => [t("money_stuck", number(one.count)), t("money_stuck_text")],
  events_waiting: (one) => [t("events_waiting"), t("events_waiting_text", lasting(one.seconds))],
  events_given_up: (one) => [t("events_given_up", number(one.count)), t("events_given_up_text")],
  quarantine: (one) => [t("quarantine_alarm", number(one.count)), t("quarantine_alarm_text")],
  unanswered: (one) => [t("unanswered", number(one.count)), t("unanswered_text")],
};

function alarm(one) {
  const [title, text] = WORDS[one.code]?.(one) ?? [t(one.code), t(`${one.code}_text`)];
  const item = make("li", WORST.has(one.code) ? "worst" : "", make("span", "dot"), make("strong", "", title), make("span", "soft", text));
  item.dataset.alarm = one.code;
  if (SECTIONS[one.code]) {
    item.querySelector("strong").replaceChildren(make("a", "", title));
    item.querySelector("a").href = `#${SECTIONS[one.code]}`;
  }
  const manual = make("a", "manual soft", t("runbook"));
  Object.assign(manual, { href: one.runbook, target: "_blank", rel: "noopener" });
  item.append(manual);
  return item;
}

/** The tab tells of alarms: somebody may look at another one. */
export function ring(count) {
  document.title = count ? `(${count}) ⚠ ${t("title")}` : t("title");
  const icon = count ? "/web/icon-alarm.svg" : "/web/icon.svg";
  if (find("icon").getAttribute("href") !== icon) find("icon").setAttribute("href", icon);
}

let said = "";

/** The list is touched only when it says something else: screen readers read it out. */
function showAlarms(alarms) {
  const items = alarms.length
    ? alarms.map(alarm)
    : [make("li", "fine", make("span", "dot"), make("strong", "", t("fine")), make("span", "soft", t("fine_text")))];
  const text = items.map((item) => item.textContent).join();
  if (text === said) return;
  said = text;
  find("alarms").replaceChildren(...items);
}

function part(text, works) {
  return make("li", "", make("span", works ? "dot good" : "dot bad"), `${text} ${works ? t("up") : t("down")}`);
}

const figure = (name, text) => make("div", "", make("dt", "", t(name)), make("dd", "", text));
const ms = (value) => (value === null ? "–" : value < 10 ? String(value) : number(Math.round(value)));

export function showLive(live) {
  const { traffic } = live;
  ring(live.alarms.length);
  showAlarms(live.alarms);
  const parts = [part(t("redis"), live.redis), part(t("postgres"), live.postgres), part(t("worker"), live.worker)];
  if (live.replicas_wanted || live.replicas) parts.push(make("li", "", t("replicas", live.replicas)));
  find("parts").replaceChildren(...parts);
  put(find("rate"), number(traffic.per_second));
  put(find("p99"), ms(traffic.latency_ms.p99));
  put(find("outbox"), number(live.outbox_entries));
  remember("rate", traffic.per_second);
  remember("p99", traffic.latency_ms.p99 ?? 0);
  remember("outbox", live.outbox_entries);
  find("live-figures").replaceChildren(
    figure("p50", ms(traffic.latency_ms.p50)), figure("p95", ms(traffic.latency_ms.p95)),
    figure("failed", number(traffic.failed_per_second)), figure("batch_users", number(traffic.batch_users)),
    figure("largest_batch", number(traffic.largest_batch)), figure("batches", number(traffic.batches_per_second)),
    figure("oldest", lasting(live.outbox_oldest_ms / 1000)), figure("processes", number(traffic.processes)),
  );
  showVerbs(traffic.verbs);
  showOpenMoney(live.outgoing);
}

function showVerbs(verbs) {
  const head = make("tr", "", ...[t("verb"), t("per_second"), "p50", "p95", "p99"].map((name) => make("th", "", name)));
  for (const cell of head.children) cell.scope = "col";
  find("verbs").replaceChildren(head, ...Object.entries(verbs).map(([verb, { per_second, latency_ms }]) =>
    make("tr", "", ...[verb, number(per_second), ms(latency_ms.p50), ms(latency_ms.p95), ms(latency_ms.p99)].map((text) => make("td", "", text))),
  ));
}

function showOpenMoney(outgoing) {
  const items = outgoing.map((one) => {
    const name = make("strong", "", `${t(one.kind)} · ${t(`state_${one.state}`)}`);
    const sum = make("span", "money", `${number(one.count)} · ${price(one.fen)}`);
    return make("li", "", make("div", "head", name, make("span", "soft", `${t("oldest")} ${lasting(one.oldest_seconds)}`), sum));
  });
  find("open-money").replaceChildren(...(items.length ? items : [make("li", "soft", t("no_money"))]));
}
