/** Every sentence about the book of rules on the operators' page, in Chinese and English. */

import { tongue } from "/web/texts.js";

const ZH = {
  rules: "规则", rules_text: "还没有开放的轮次按这里的规则开放；已经开放的轮次不再改变。后排定的优先，有期限的优先于默认。",
  environment: "环境变量和默认规则不同，不起作用：{0}", calendar: "日历", earlier: "前 31 天", later: "后 31 天", calendar_from: "从哪一天起",
  is_open: "已开放", previewed: "预览：下面标出的日子会改变，还没有排定", nothing_new: "这些日子的规则不会改变", more_days: "之后的日子也一样",
  plan_title: "排定变更", first_day: "第一天", last_day: "最后一天（不填：从此默认）", unchanged: "不变", preview: "预览", plan: "排定", stop_preview: "结束预览",
  campaign_zh: "活动名称（中文）", campaign_en: "活动名称（英文）", bonus_fen: "平台加奖（元，每天）", both_names: "活动名称需要中文和英文", first_day_needed: "请填写第一天",
  stake_fen: "押金（元）", split: "分法", nobody: "无人打卡时", fee_bps: "手续费（万分之）", packet_cap_fen: "红包上限（元，0 不限）", lucky_count: "幸运人数", lucky_bps: "幸运份额（万分之）",
  join_opens: "报名开始", join_closes: "报名截止", check_in_opens: "打卡开始", check_in_closes: "打卡截止", settle_at: "结算", claim_closes: "领取截止", shards: "分片数", order_prefix: "订单号前缀", campaign: "活动",
  random: "随机", equal: "平均", refund: "退款", carry: "转入下一轮", more_rules: "更多规则",
  ask_plan: "排定 {0} 的规则变更？", ask_days: "改变 {0} 天的规则；用户参加前会看到。", ask_bonus: "平台加奖一共 {0}。", ask_until: "在第一轮开放之前可以撤回。",
  changes: "变更记录", no_changes: "还没有排定过变更", from_on: "{0} 起", until: "{0} 至 {1}", by: "{0} · {1} · 编号 {2}", why: "原因：{0}",
  take_back: "撤回", taken_back: "{0} 已撤回（{1}）：{2}", ask_take_back: "撤回编号 {0} 的变更？", ask_take_back_1: "这些日子回到没有它时的规则；记录会保留。", done: "已排定", gone: "已撤回", lost: "连不上服务，请重试",
};

const EN = {
  rules: "Rules", rules_text: "Rounds that are not open yet are opened by these rules; those that are open never change. What was planned later wins, and what is dated wins over the default.",
  environment: "The environment differs from the default, and decides nothing: {0}", calendar: "Calendar", earlier: "31 days earlier", later: "31 days later", calendar_from: "From which day on",
  is_open: "open", previewed: "A preview: the marked days would be other. Nothing is planned yet", nothing_new: "Nothing would be other on these days", more_days: "and so would be later days",
  plan_title: "Plan a change", first_day: "First day", last_day: "Last day (empty: the default from then on)", unchanged: "unchanged", preview: "Preview", plan: "Plan", stop_preview: "End the preview",
  campaign_zh: "Campaign, in Chinese", campaign_en: "Campaign, in English", bonus_fen: "Bonus of the house (yuan, each day)", both_names: "A campaign needs a name in both languages", first_day_needed: "A first day is needed",
  stake_fen: "Stake (yuan)", split: "Split", nobody: "Where nobody wakes", fee_bps: "Fee (1/10,000)", packet_cap_fen: "Largest packet (yuan, 0: any)", lucky_count: "Lucky winners", lucky_bps: "Lucky part (1/10,000)",
  join_opens: "Joining opens", join_closes: "Joining closes", check_in_opens: "Check-in opens", check_in_closes: "Check-in closes", settle_at: "Settlement", claim_closes: "Claiming closes", shards: "Shards", order_prefix: "Prefix of orders", campaign: "Campaign",
  random: "random", equal: "equal", refund: "refund", carry: "carry", more_rules: "More rules",
  ask_plan: "Plan other rules for {0}?", ask_days: "They hold on {0} days; users see them before they join.", ask_bonus: "The house adds {0} in all.", ask_until: "It can be taken back until the first of these rounds is open.",
  changes: "Changes", no_changes: "Nothing was ever planned", from_on: "from {0} on", until: "{0} to {1}", by: "{0} · {1} · number {2}", why: "Reason: {0}",
  take_back: "Take back", taken_back: "Taken back by {0} ({1}): {2}", ask_take_back: "Take change {0} back?", ask_take_back_1: "These days become as they would be without it. The record stays.", done: "Planned", gone: "Taken back", lost: "No answer from the service, please try again",
};

/** A sentence in the chosen language; `{0}`, `{1}`, … are filled in. */
export function r(name, ...values) {
  const text = (tongue.language === "en" ? EN : ZH)[name] ?? name;
  return text.replace(/\{(\d)\}/g, (_, i) => values[i]);
}

/** Puts every marked text of the section into the chosen language. */
export function translateRules() {
  for (const node of document.querySelectorAll("[data-r]")) node.textContent = r(node.dataset.r);
  for (const node of document.querySelectorAll("[data-r-label]")) node.setAttribute("aria-label", r(node.dataset.rLabel));
}
