/** Every sentence of the operators' page, in Chinese and English. */

import { language } from "/web/texts.js";

const ZH = {
  title: "运营台", now: "现在", other: "English", leave: "退出", more: "更多", no: "返回",
  door: "需要运营令牌", door_text: "在服务器上运行下面的命令，把输出粘贴到这里。令牌只保存在这个标签页。", token: "令牌", enter: "进入",
  dev_enter: "以开发环境运营账号进入", expired: "令牌无效或已过期", not_operator: "这个令牌没有运营权限", lost: "连不上服务，正在重试",
  alarms: "需要人处理", fine: "一切正常", fine_text: "没有需要人处理的事。",
  redis_away: "Redis 没有响应", redis_away_text: "用户现在不能打卡、参加和领红包。请检查 Redis。",
  postgres_away: "Postgres 没有响应", postgres_away_text: "打卡照常，事件留在待写队列里；历史、结算和付款要等它恢复。",
  worker_away: "没有 worker 在运行", worker_away_text: "十秒没有心跳：不会结算、付款，账本不再更新。请启动 clock worker。",
  replica_short: "Redis 缺少副本", replica_short_text: "设置要求每个写入都有副本确认，现在有 {0} 个副本，写请求都会被拒绝。",
  clocks_differ: "时钟不一致：{0}", clocks_differ_text: "结算、入账和付款都在等；用户不会因为时间被拒绝，请求会得到 503。请校准这台机器的时钟（NTP）。",
  redis_behind: "Redis 少了 {0} 的 {1} 位用户", redis_behind_text: "账本里有，Redis 里没有（多半是切换到了落后的副本）。请运行 clock rebuild {0}，用户可以继续玩。",
  books_behind: "账本少了 {0} 的 {1} 位用户", books_behind_text: "Redis 里有，账本里没有，保留的事件也已重写过一遍。请运行 clock reconcile {0} 逐个查看。",
  books_differ: "对账有 {0} 处不一致", books_differ_text: "最近一周的对账结果里有差异，请逐条核对。",
  settlement_late: "{0} 的结算晚了", settlement_late_text: "已经过了结算时间 {1}。请看 worker 日志；用户暂时领不到红包。",
  outbox_old: "写入账本延迟 {1}", outbox_old_text: "有 {0} 条事件还没进 Postgres。什么都没丢，但结算会等它。",
  disk_failing: "Redis 写不了文件", disk_failing_text: "磁盘满了或出错：写请求都会失败。请腾出空间，Redis 会自己恢复（见手册）。",
  disk_low: "数据目录的磁盘只剩 {0}%", disk_low_text: "满了以后不能打卡、参加和领红包。请腾出空间或扩容。",
  host_clock: "{0} 的时钟差了 {1}", host_clock_text: "这台 API 主机用自己的时钟验证令牌和回调签名。请校准它的时钟（NTP）。",
  bad_signatures: "{0} 个支付回调签名错误", bad_signatures_text: "最近五分钟被拒绝。多半是一边换了密钥或时钟不准，也可能有人伪造。真实的付款要等渠道查询才会入账。",
  channel_silent: "支付渠道 {0} 没有响应", channel_silent_text: "已经 {0}。退款和付款留在待付里，恢复后自动继续。",
  connections_alarm: "有进程的连接用了 {0}%", connections_alarm_text: "所有 API 进程共有 {0} 个连接；满了以后新连接得到 503。请提高 ulimit -n，或增加进程和机器。",
  failing: "有请求失败", failing_text: "每秒 {0} 个请求得到 5xx。请看 API 日志。",
  money_failed: "{0} 笔钱没有送到", money_failed_text: "渠道拒绝了共 {1} 的退款或付款，钱留在用户余额里，需要人工处理。",
  money_stuck: "{0} 笔钱一直没有结果", money_stuck_text: "已经重试了几个小时，请向渠道核对单号。",
  events_waiting: "平台没有收到事件通知", events_waiting_text: "最早的一条已经等了 {0}。请检查平台的接收地址（CLOCK_EVENTS_URL）；恢复后自动继续发送。",
  events_given_up: "最近一天放弃了 {0} 条事件通知", events_given_up_text: "平台三天都没有收下。用 clock events --state given_up 查看，修好后可以重发。",
  quarantine: "隔离区", quarantine_alarm: "隔离区有 {0} 条待处理", quarantine_alarm_text: "签名正确但没有通过检查的支付回调，没有入账。请核对后退款或关闭。",
  unanswered: "{0} 个订单渠道没有答复", unanswered_text: "结算前渠道没说它们是否已支付；之后到账的会自动退款。",
  round: "轮次", which_day: "选择日期", day_before: "前一天", day_after: "后一天", round_none: "这一天没有轮次", way: "进程",
  joining: "报名中", waiting: "等待打卡", checking_in: "打卡中", closed: "已截止", settling: "结算中", settled: "已结算", finished: "已结束", void: "取消本轮",
  state_void: "已取消", step_open: "未结算", step_closed: "名单已定，正在分奖金", step_split: "红包已算好，正在发布", step_published: "已发布，正在开放领取",
  members: "成员", winners: "打卡", late: "迟到支付", pool: "奖池", forfeited: "没收押金", fee: "手续费", carried_in: "上轮转入", pot: "奖金", refunds: "退款",
  packets: "已发布红包 {0} / {1}", claims: "已领取 {0} / {1}", void_reason: "取消原因：{0}",
  extend: "延长打卡 10 分钟", ask_extend: "{0} 的打卡延长 {1} 分钟？", ask_extend_1: "所有用户的打卡都晚结束，结算跟着推迟；一轮一共最多延长 60 分钟。", ask_extend_2: "原因会随这一轮公布；同样的原因不会再延长一次。",
  extended_outage: "{0} 起服务中断，打卡延长 {1} 分钟（{2} 个分片，当时 {3} 人没打卡）", extended_operator: "{0} 由 {5} 延长 {1} 分钟（当时 {3} 人没打卡）：{4}",
  compared_never: "还没有对过账。结束后 worker 会自动对账一次。", compared_fine: "对账一致（{0}）", compared_bad: "对账有 {1} 处不一致（{0}）",
  settle: "结算", compare: "立即对账", comparing: "正在对账…", sent: "正在处理…",
  funnel: "漏斗", ordered: "下单", paid: "支付", checked_in: "打卡", claimed: "领取", as_table: "以表格查看", hour: "时间",
  curve: "累计人数随时间变化：下单 {0}，支付 {1}，打卡 {2}，领取 {3}",
  live: "实时", throughput: "每秒请求", latency: "p99 毫秒", outbox: "待写入账本", processes: "API 进程", p50: "p50", p95: "p95", failed: "5xx / 秒",
  batches: "每秒脚本调用", batch_users: "每批人数", largest_batch: "最大一批", oldest: "最久等待", verb: "接口", per_second: "每秒",
  redis: "Redis", postgres: "Postgres", worker: "worker", replicas: "副本 {0}", up: "正常", down: "没有响应",
  money: "退款与付款", money_text: "所选轮次，按状态统计；每分钟更新", open_money: "没有送到的钱（所有轮次）", unsent: "逐笔明细", unsent_of: "{0} 轮 · 用户 {1} · 发送 {2} 次", reason: "渠道答复：{0}", no_money: "没有", none_yet: "这一轮还没有退款和付款",
  payout: "付款", refund: "退款", state_owed: "待发送", state_unknown: "结果未知", state_processing: "渠道处理中", state_done: "已到账", state_failed: "失败",
  state: "状态",
  quarantine_text: "每条只能处理一次，会记录谁、为什么。退款原路退回；关闭表示已用其他方式处理，系统不动钱。任何人都不会因此成为成员。",
  waiting_count: "{0} 条待处理", show_all: "显示已处理", kept_none: "没有等待处理的记录", raw: "原始内容",
  why_amount_mismatch: "金额不符", why_buyer_mismatch: "付款人不符", why_order_not_found: "订单不存在", why_transaction_missing: "缺少交易号", why_malformed: "内容无法识别",
  order_no: "订单 {0}", transaction: "交易 {0}", do_refund: "退款", do_dismiss: "关闭",
  released_refund: "已退款 {0}（单号 {1}）· {2} · {3}", released_dismiss: "已关闭 · {2} · {3}",
  cannot_unreadable: "内容无法识别，不能自动退款", cannot_order_missing: "没有订单号，不能退款", cannot_transaction_missing: "没有交易号，不能原路退款",
  cannot_amount_missing: "没有有效金额，不能退款", cannot_accepted: "这笔支付已经正常入账，不能退款", cannot_refunded: "这笔支付已经在退款，不能再退",
  cannot_dismissed: "这笔支付之前已被关闭，不能再退款", cannot_refund_begun: "这笔退款已经开始，请选择退款来完成",
  why: "原因（会被记录）", why_needed: "请填写原因",
  ask_settle: "结算 {0}？", ask_settle_1: "按规则分奖金并开放领取，相当于 worker 到点自动做的事。", ask_settle_2: "可以重复执行；还没到时间会被拒绝。",
  ask_void: "取消 {0} 这一轮？", ask_void_1: "{0} 名成员的押金共 {1} 全部退回。", ask_void_2: "已打卡的人也拿不到红包，用户会看到“本轮已取消”。", ask_void_3: "不能撤销。",
  ask_refund: "退回 {0}？", ask_refund_1: "从渠道原路退回交易 {0}。", ask_refund_2: "用固定单号发送，重复发送也只退一次；之后同一笔支付不会再入账。", ask_refund_3: "不能撤销。",
  ask_dismiss: "关闭这条记录？", ask_dismiss_1: "系统不动钱：表示你已在别处处理，或不需要处理。", ask_dismiss_2: "同一笔支付之后不能再从这里退款。",
  seconds: "{0} 秒", minutes: "{0} 分钟", hours: "{0} 小时",
};

const EN = {
  title: "Operations", now: "It is", other: "中文", leave: "Leave", more: "More", no: "Back",
  door: "An operator's token is needed", door_text: "Run this where the service runs, and paste what it prints. The token stays in this tab.", token: "Token", enter: "Enter",
  dev_enter: "Enter as the development operator", expired: "The token is not valid, or has expired", not_operator: "This token is not an operator's", lost: "The service does not answer; trying again",
  alarms: "Needs a person", fine: "All is well", fine_text: "Nothing needs a person now.",
  redis_away: "Redis does not answer", redis_away_text: "Nobody can check in, join or claim now. Look at Redis.",
  postgres_away: "Postgres does not answer", postgres_away_text: "Check-ins go on and events wait in the outbox; history, settlement and payouts wait for it.",
  worker_away: "No worker is running", worker_away_text: "No heartbeat for ten seconds: nothing is settled, paid or written to the books. Start clock worker.",
  replica_short: "Redis has too few replicas", replica_short_text: "Each write must be confirmed by a replica, and there are {0}: writes are refused.",
  clocks_differ: "Clocks differ: {0}", clocks_differ_text: "Settlement, credits and payouts wait. Nobody is refused by time: such requests answer 503. Set that host's clock right (NTP).",
  redis_behind: "Redis misses {1} users of {0}", redis_behind_text: "The books have them: most likely a replica that lagged was promoted. Run clock rebuild {0}; people may go on playing.",
  books_behind: "The books miss {1} users of {0}", books_behind_text: "Redis has them, and what its streams keep was written again. Run clock reconcile {0} to see each.",
  books_differ: "The books differ in {0} places", books_differ_text: "A comparison of the last week found differences. Look at each of them.",
  settlement_late: "Settlement of {0} is late", settlement_late_text: "It was due {1} ago. See the worker's log; nobody can claim until then.",
  outbox_old: "The books are {1} behind", outbox_old_text: "{0} entries are not in Postgres yet. Nothing is lost, but settlement waits for them.",
  disk_failing: "Redis cannot write its file", disk_failing_text: "The disk is full or broken: writes fail. Make room; Redis goes on by itself (see the runbook).",
  disk_low: "The data directory's disk has {0} % left", disk_low_text: "Once it is full nobody can check in, join or claim. Make room, or enlarge it.",
  host_clock: "The clock of {0} is off by {1}", host_clock_text: "This API host judges tokens and signatures by its own clock. Set it right (NTP).",
  bad_signatures: "{0} payment callbacks with a bad signature", bad_signatures_text: "Refused in the last five minutes: a secret was changed on one side, a clock is off, or somebody forges. Real payments wait until the channel is asked.",
  channel_silent: "Payment channel {0} does not answer", channel_silent_text: "For {0}. Refunds and payouts stay owed, and go on by themselves once it is back.",
  connections_alarm: "A process has {0} % of its connections", connections_alarm_text: "All API processes have {0}. One that is full answers new connections with 503: raise ulimit -n, or add processes and hosts.",
  failing: "Requests fail", failing_text: "{0} a second are answered 5xx. See the API's log.",
  money_failed: "{0} payments out did not arrive", money_failed_text: "The channel refused {1} in all. It is in the users' balances, and a person must decide.",
  money_stuck: "{0} payments out have no outcome", money_stuck_text: "They were tried for hours. Ask the provider about their numbers.",
  events_waiting: "The host does not take its events", events_waiting_text: "The oldest has waited for {0}. Look at the receiver behind CLOCK_EVENTS_URL; sending goes on by itself once it is back.",
  events_given_up: "{0} events were given up in the last day", events_given_up_text: "The host did not take them for three days. clock events --state given_up lists them, and sends one again.",
  quarantine: "Quarantine", quarantine_alarm: "{0} in quarantine wait for a decision", quarantine_alarm_text: "Signed payment callbacks that failed a check and were not credited. Compare, then refund or dismiss.",
  unanswered: "{0} orders have no answer", unanswered_text: "The channel did not say before settlement whether they are paid; what arrives now is refunded.",
  round: "Round", which_day: "Choose a day", day_before: "Day before", day_after: "Day after", round_none: "There is no round on this day", way: "Progress",
  joining: "joining", waiting: "waiting", checking_in: "checking in", closed: "closed", settling: "settling", settled: "settled", finished: "finished", void: "Void round",
  state_void: "void", step_open: "not settled", step_closed: "members are fixed, splitting", step_split: "packets are drawn, publishing", step_published: "published, opening claims",
  members: "Members", winners: "Checked in", late: "Paid late", pool: "Pool", forfeited: "Forfeited", fee: "Fee", carried_in: "Carried in", pot: "Pot", refunds: "Refunds",
  packets: "Packets published {0} of {1}", claims: "Claimed {0} of {1}", void_reason: "Called off: {0}",
  extend: "10 minutes more", ask_extend: "Make the check-in of {0} {1} minutes longer?", ask_extend_1: "Check-in closes later for everybody, and settlement waits; a round becomes at most 60 minutes longer in all.", ask_extend_2: "The reason is published with the round; the same reason does not extend it again.",
  extended_outage: "Away from {0}: {1} minutes more ({2} shards, {3} asleep then)", extended_operator: "At {0} by {5}: {1} minutes more ({3} asleep then): {4}",
  compared_never: "Not compared yet. The worker does so once, after the round has ended.", compared_fine: "All books agree ({0})", compared_bad: "{1} differences ({0})",
  settle: "Settle", compare: "Compare now", comparing: "Comparing…", sent: "Working…",
  funnel: "Funnel", ordered: "Ordered", paid: "Paid", checked_in: "Checked in", claimed: "Claimed", as_table: "As a table", hour: "Time",
  curve: "Users over time, cumulated: ordered {0}, paid {1}, checked in {2}, claimed {3}",
  live: "Live", throughput: "Requests a second", latency: "p99, ms", outbox: "Outbox", processes: "API processes", p50: "p50", p95: "p95", failed: "5xx a second",
  batches: "Calls a second", batch_users: "Users a batch", largest_batch: "Largest batch", oldest: "Oldest waits", verb: "Verb", per_second: "A second",
  redis: "Redis", postgres: "Postgres", worker: "worker", replicas: "{0} replicas", up: "up", down: "does not answer",
  money: "Refunds and payouts", money_text: "Of the chosen round, by state; every minute", open_money: "Money that did not arrive (all rounds)", unsent: "One by one", unsent_of: "round {0} · user {1} · sent {2} times", reason: "The channel says: {0}", no_money: "None", none_yet: "This round has no refunds or payouts yet",
  payout: "Payout", refund: "Refund", state_owed: "to be sent", state_unknown: "outcome unknown", state_processing: "with the channel", state_done: "arrived", state_failed: "failed",
  state: "State",
  quarantine_text: "Each is decided once, with who and why. A refund goes back to where the money came from; dismissing means that it was answered otherwise, and moves nothing. Nobody becomes a member here.",
  waiting_count: "{0} waiting", show_all: "Show decided", kept_none: "Nothing waits for a decision", raw: "Raw body",
  why_amount_mismatch: "Wrong amount", why_buyer_mismatch: "Another buyer", why_order_not_found: "No such order", why_transaction_missing: "No transaction", why_malformed: "Unreadable",
  order_no: "Order {0}", transaction: "Transaction {0}", do_refund: "Refund", do_dismiss: "Dismiss",
  released_refund: "Refunded {0} (number {1}) · {2} · {3}", released_dismiss: "Dismissed · {2} · {3}",
  cannot_unreadable: "Unreadable: it cannot be refunded here", cannot_order_missing: "No order number: it cannot be refunded", cannot_transaction_missing: "No transaction to refund to",
  cannot_amount_missing: "No valid amount: it cannot be refunded", cannot_accepted: "This payment was accepted: it cannot be refunded", cannot_refunded: "This payment is being refunded already",
  cannot_dismissed: "This payment was dismissed before", cannot_refund_begun: "This refund has begun: choose refund to complete it",
  why: "Reason (it is kept)", why_needed: "A reason is needed",
  ask_settle: "Settle {0}?", ask_settle_1: "Splits the pot and opens claiming: what the worker does by itself when it is due.", ask_settle_2: "It may be repeated; before it is due it is refused.",
  ask_void: "Void the round of {0}?", ask_void_1: "The stakes of {0} members, {1} in all, are refunded.", ask_void_2: "Who has checked in gets no packet either. Users read that the round was called off.", ask_void_3: "It cannot be undone.",
  ask_refund: "Refund {0}?", ask_refund_1: "It goes back through the channel to transaction {0}.", ask_refund_2: "It is sent under one fixed number, so that it is paid once; the same payment is not taken afterwards.", ask_refund_3: "It cannot be undone.",
  ask_dismiss: "Dismiss this callback?", ask_dismiss_1: "No money moves: you answered it elsewhere, or it needs no answer.", ask_dismiss_2: "The same payment cannot be refunded from here afterwards.",
  seconds: "{0} s", minutes: "{0} min", hours: "{0} h",
};

/** A sentence in the chosen language; `{0}`, `{1}`, … are filled in. */
export function t(name, ...values) {
  const text = (language === "en" ? EN : ZH)[name] ?? name;
  return text.replace(/\{(\d)\}/g, (_, i) => values[i]);
}

export const has = (name) => name in ZH;

/** Seconds as people say them. */
export function lasting(seconds) {
  if (seconds < 120) return t("seconds", Math.round(seconds));
  return seconds < 7200 ? t("minutes", Math.round(seconds / 60)) : t("hours", Math.round(seconds / 3600));
}

/** Puts every marked text of the document into the chosen language. */
export function translate() {
  document.documentElement.lang = language === "en" ? "en" : "zh-CN";
  document.title = t("title");
  for (const node of document.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of document.querySelectorAll("[data-t-label]")) node.setAttribute("aria-label", t(node.dataset.tLabel));
}
