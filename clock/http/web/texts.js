/** Every sentence of the players' page, in Chinese and English, and how money and times are written. */

import { device } from "/web/kept.js";

const ZH = {
  title: "早起打卡", now: "现在", pool: "今日奖池", pool_yesterday: "本轮奖池", people: "参与人数", risers: "已打卡",
  tab_today: "今日", tab_board: "榜单", tab_me: "我的", tabs: "页面", more: "更多", close: "关闭", other: "English",
  loading: "加载中", guest: "请从 App 打开", guest_hint: "登录后就能参加今天的早起打卡",
  join: "{0} 参加",
  join_hint_push: "明早 {0} – {1} 打卡，就能分没起床的人留下的奖金。拆红包后，押金和红包一起转给你",
  join_hint_pull: "明早 {0} – {1} 打卡，就能分没起床的人留下的奖金。押金自动原路退回，红包进余额，可以提现",
  pay: "去支付 {0}", pay_hint: "付款后才算参加。已经付过？请等到账，这里会自动更新，不用重复支付", confirming: "确认支付中", confirming_hint: "钱到账以后，这里会马上更新",
  no_payer: "请在 App 里支付", wait: "打卡倒计时", wait_hint: "已参加。{0} 开始打卡，别睡过头",
  check_in: "打卡", check_in_hint: "还剩 {0}，点一下就好",
  round_outage: "{0} 起服务中断过，打卡延长了 {1} 分钟", round_operator: "打卡延长了 {1} 分钟：{2}", extended_hint: "今天打卡延长到 {0}，还剩 {1}", counting: "已打卡", counting_hint: "早安！{0} 开红包", overslept: "错过打卡", overslept_hint: "{0} 以后可以参加今天这一轮",
  packet: "拆红包", packet_hint: "早起的红包到了", closed: "现在不能参加", closed_hint: "每天 {0} 开始报名",
  sending: "稍等", again: "人有点多，正在排队重试（第 {0} 次）", lost: "网络断开了，连上后自动更新", away: "服务暂时没有回应，恢复后自动更新",
  lost_retry: "网络断开了，正在重试（第 {0} 次）", away_retry: "服务没有回应，正在重试（第 {0} 次）", gave_up: "没有成功，请再点一次",
  paid: "支付成功，已参加", not_confirmed: "还没有收到支付结果。到账后会自动更新，不用重复支付",
  packet_title: "早起红包", packet_wait: "点开看看今天的手气", packet_opening: "正在拆", open: "開", done: "收下",
  packet_settling: "正在结算，请稍等，红包不会丢", packet_none: "这次没有分到红包，押金原数返还",
  packet_parts_push: "红包 {0} + 押金 {1}，共 {2}，已入账", packet_parts_pull: "红包 {0} 已进余额，押金 {1} 原路退回", packet_got: "恭喜，你分到了",
  result_missed: "{0} 这一轮没赶上", result_missed_text: "押金分给了早起的人。今晚早点睡，明早再来。", understood: "知道了",
  result_won: "今天的红包 {0}", result_won_text: "红包 {0} + 押金 {1}，共 {2}。",
  remind: "起床提醒", remind_text: "{0} 还没打卡，就提醒我",
  remind_is_on: "起床提醒已打开", remind_is_off: "起床提醒已关闭",
  round_title: "上一轮", members: "参加", winners: "打卡", pot: "奖金", largest: "最大红包", smallest: "最小红包", missed: "没起床",
  fair: "红包公平吗？自己验一验",
  fair_text: "每一轮的红包由一个种子混合打卡截止后的声明算出。种子的指纹（SHA-256）在报名前公布，种子在结算后公布。点一下，这台设备会自己重算一遍，和公布的结果逐个对比。",
  seed_hash: "种子的 SHA-256（开局前公布）", seed: "种子（结算后公布）",
  talents: "昨日达人", longest: "坚持最久", luckiest: "手气最佳", earliest: "起得最早", day: "{0} 天", days: "{0} 天", nobody: "没有人",
  board: "收入榜", board_empty: "还没有人上榜",
  mornings: "我的早起", streak: "连续打卡", long_days: "最长连续", clock_days: "累计打卡", joined: "参加次数", income: "红包收入", best: "最大红包",
  history: "我的账单", history_empty: "还没有记录",
  state_owed: "排队中", state_unknown: "处理中", state_processing: "处理中", state_done: "已到账", state_failed: "未成功",
  rules: "玩法说明",
  rule_1: "每天 {0} – {1} 报名，押金 {2}。昨天参加过的人，{3} 结算后可以再报名。",
  rule_2: "第二天早上 {0} – {1} 打卡。以服务器时间为准，不看手机时间。",
  rule_3: "打卡的人拿回押金，再分没打卡的人的押金。{0} 结算，红包金额随机。",
  rule_3_equal: "打卡的人拿回押金，再平分没打卡的人的押金。{0} 结算。",
  rule_4: "红包当天 {0} 前拆。忘了拆也不会丢，到时自动入账。",
  rule_5: "没有打卡的人，押金不退。",
  rule_6: "一个人都没打卡，押金全部退还。", rule_6_carry: "一个人都没打卡，奖金进入下一轮。",
  rule_7: "平台不收手续费，每一分钱都在账上对得上。", rule_7_fee: "平台从没打卡的人的押金里收 {0} 手续费。",
  neighbour: "用户 {0}",
  result_void: "{0} 这一轮已取消",
  result_void_text: "你的押金 {0} 原路退回，这一轮不发红包。", called_off: "本轮已取消", called_off_hint: "付过的押金原路退回。明天 {0} 起可以参加下一轮",
  order_late: "这一轮报名已经截止。你的付款到账后，会算参加或原路退回，结果在“我的账单”里", yest_pool: "昨日奖池", round_empty: "这一轮没有人参加",
  board_text: "按红包总收入排名，一轮的红包全部拆完后计入", balance: "余额", my_number: "你的用户号是 {0}。联系客服时请告诉他们，还有账单上的单号", not_yet: "拆完后揭晓", fair_check: "在本机验算这一轮", fair_running: "正在验算…",
  fair_agrees: "验算通过，一分不差", fair_differs: "验算不一致，请截图保存", fair_good: "通过", fair_bad: "不一致", fair_none: "没有验",
  fair_noted: "指纹和本机在结算前记下的一样", fair_not_noted: "指纹和本机在结算前记下的不一样", fair_never_noted: "结算前本机没有打开过这一轮，没有记下指纹",
  fair_seed: "种子的 SHA-256 就是公布的指纹", fair_not_seed: "种子的 SHA-256 不是公布的指纹", fair_drawn: "抽签 = 种子混合开奖前公布的声明", fair_not_drawn: "抽签不是由种子和开奖前公布的声明得出的",
  fair_missing_beacon: "没有使用公开的随机信标：不能证明知道种子的运营方没有自己参加", fair_missing_witnesses: "没有见证方签名：不能证明给所有人看的是同一轮",
  fair_missing_statements: "这一轮还没有签名的声明：不能证明规则和人数事后没有改过", fair_no_digest: "浏览器只在 https 页面上计算 SHA-256，这一项没有验",
  fair_pot: "奖金 {0} = 没打卡的押金 {1} − 手续费 {2} + 上轮转入 {3}",
  fair_pot_bonus: "奖金 {0} = 没打卡的押金 {1} − 手续费 {2} + 上轮转入 {3} + 平台加奖 {4}", fair_packets: "由抽签重算的 {0} 个红包，和公布的逐个相同",
  fair_not_packets: "第 {0} 个红包和重算的不同", fair_sum: "红包合计 {0}，加上转入下一轮的 {1}，等于奖金", fair_mine: "你的打卡名次对应第 {0} 个红包，{1}",
  fair_not_mine: "第 {0} 个红包是 {1}，和你拿到的不同", seed_next: "正在进行的一轮，种子的 SHA-256",
  fair_opened: "开局时的承诺（声明 O）和本机在结算前记下的一样", fair_not_opened: "开局时的承诺（声明 O）和本机在结算前记下的不一样", fair_never_opened: "结算前本机没有记下开局时的承诺（声明 O）",
  fair_linked: "三份声明前后相连：开局、打卡截止、公布", fair_not_linked: "三份声明前后连不上", fair_stated: "公布的规则、人数和金额，就是声明里的", fair_not_stated: "公布的规则、人数或金额，和声明里的不一样",
  fair_signed: "声明都由本机一直认得的密钥签名", fair_not_signed: "声明没有由本机认得的密钥正确签名", fair_no_signatures: "这台设备的浏览器不能验签名（Ed25519）",
  fair_beacon: "用了公开信标 {0} 的第 {1} 次抽签，浏览器不能验它的签名。可以到 {2} 查看，签名应以 {3} 开头", fair_missing_draw: "没有及时拿到公开信标的抽签：这一轮平分，没有先分的红包", fair_late_draw: "公开信标抽签时，这一轮还没有截止：这一轮平分，没有先分的红包",
  receipts: "凭据", receipts_text: "由服务签名，存在这台设备上，公布后在这里自动核对。",
  receipt_stake: "付款", receipt_checked_in: "打卡", receipt_save: "下载",
  receipt_kept: "{0} {1}：凭据已存", receipt_good: "{0} {1}：凭据有效，已列入抽签前公布的声明", receipt_unsigned: "{0} {1}：已列入抽签前公布的声明，这台设备不能验签名",
  receipt_unknown: "{0} {1}：凭据已存，暂时没能核对", receipt_unable: "{0} {1}：凭据已存，这台设备不能核对", receipt_void: "{0} {1}：这一轮已取消，凭据留作退款的证明", receipt_denied: "{0} {1}：凭据没有列入公布的声明。请下载凭据并截图，联系 App 客服",
  receipt_forged: "{0} {1}：凭据或声明的签名不对。请下载凭据并截图，联系 App 客服",
  checking: "正在核实付款",
  checking_hint: "收到一笔付款，还要核实。钱不会丢，不用再付，结果会显示在这里",
  expired: "请重新登录",
  expired_hint: "登录已过期，请从 App 重新打开",
  expired_stake: "登录已过期。{1} 这一轮有你的押金 {0}，请在 {2} 前从 App 重新打开并打卡",
  loading_hint: "正在更新",
  result_back_text: "押金不没收，{0} 原路退回。",
  result_carried_text: "这一轮没有人打卡，奖金进入下一轮。",
  result_extended: "这一轮打卡延长了 {0} 分钟。",
  result_none: "今天没有分到红包，押金已返还",
  packet_all_up: "所有人都起床了，没有奖金可分，押金原数返还",
  packet_small: "{0} 人没起床，奖金的分数比早起的人少，这次没有分到你，押金原数返还",
  next_title: "{0} 这一轮的规则不同",
  rule_bonus: "平台另加 {0} 到奖金里。",
  rule_lucky: "其中 {0} 人先分奖金的 {1}。",
  rule_cap: "每个红包最多 {0}。",
  events_help: "没有到账的钱没有丢：它在你的余额里，可以提现，或会再次发出。有问题请联系 App 客服，并告诉他们是哪一轮。",
  rule_push: "拆红包后，押金和红包一起转给你。没有送到的钱在余额里，可以提现。",
  rule_pull: "赢了以后，押金自动退回付款的地方；红包进余额，可以提现，提现时需要你确认收款。",
  not_prepared: "支付渠道暂时没有回应，请再点一次", code_title: "扫码支付", code_text: "用支付 App 打开这个链接付款。付款后这里会自动更新，不用重复支付", code_paid: "我已付款",
  balance_push: "没有送到的钱在这里。", balance_pull: "红包，和没有送到的钱，都在这里。",
  balance_kept: "满 {0} 可以提现。余额永远有效，不能用来支付。",
  withdraw: "提现 {0}", withdraw_confirm: "确认收款 {0}", withdraw_open: "提现 {0}：{1}", withdraw_waits: "提现 {0} 等你确认收款，24 小时内有效",
  withdraw_below: "满 {0} 可以提现，还差 {1}。", withdraw_failed: "上次没有送到（{0}），钱已回到余额，可以再提现。",
  withdraw_lapsed: "上次提现没有及时确认，钱已回到余额，可以再提现。", no_confirmer: "请在收款的 App 里打开这个页面，再点确认",
};

const EN = {
  title: "Early Rise", now: "It is", pool: "Today's pool", pool_yesterday: "This round's pool", people: "Players", risers: "Checked in",
  tab_today: "Today", tab_board: "Board", tab_me: "Me", tabs: "Pages", more: "More", close: "Close", other: "中文",
  loading: "Loading", guest: "Open in the app", guest_hint: "Sign in to join today's early rise",
  join: "Join for {0}",
  join_hint_push: "Check in tomorrow, {0} – {1}, and share what the sleepers leave. Stake and packet are sent to you when you open it",
  join_hint_pull: "Check in tomorrow, {0} – {1}, and share what the sleepers leave. Your stake goes back by itself, the packet into your balance, to withdraw",
  pay: "Pay {0}", pay_hint: "You are in once it is paid. Paid already? It arrives by itself: do not pay twice", confirming: "Confirming",
  confirming_hint: "This page changes as soon as the payment has arrived",
  no_payer: "Please pay inside the app", wait: "Opens in", wait_hint: "You are in. Check-in opens at {0}: sleep well",
  check_in: "Check in", check_in_hint: "{0} left: one tap is enough",
  round_outage: "The service was away from {0}: check-in was {1} minutes longer", round_operator: "Check-in was {1} minutes longer: {2}",
  extended_hint: "Check-in is longer today: open until {0}, {1} left", counting: "You are up!", counting_hint: "Good morning! Red packets open at {0}",
  overslept: "Overslept", overslept_hint: "You can join today's round from {0} on",
  packet: "Open it", packet_hint: "Your red packet is here", closed: "Joining is closed", closed_hint: "It opens at {0} every day",
  sending: "One moment", again: "Many people are here: trying again ({0})", lost: "You are offline. This page updates when you are back",
  away: "The service does not answer just now. This page updates when it does",
  lost_retry: "You are offline: trying again ({0})", away_retry: "The service does not answer: trying again ({0})", gave_up: "That did not work, please tap again",
  paid: "Paid: you are in", not_confirmed: "The payment has not been confirmed yet. This page updates when it is; do not pay twice",
  packet_title: "Early riser's red packet", packet_wait: "Open it and see today's luck", packet_opening: "Opening", open: "Open", done: "Keep it",
  packet_settling: "Being settled: it may take a while, and nothing is lost", packet_none: "No packet for you this time: your stake comes back",
  packet_parts_push: "Packet {0} + stake {1} = {2}, credited", packet_parts_pull: "The packet of {0} is in your balance, the stake of {1} goes back to where you paid from", packet_got: "Congratulations, you got",
  result_missed: "You missed the round of {0}", result_missed_text: "Your stake went to those who got up. Sleep early and come back.",
  understood: "I see", result_won: "Today's packet: {0}", result_won_text: "Packet {0} + stake {1} = {2}.",
  remind: "Wake-up reminder", remind_text: "Remind me if I have not checked in by {0}",
  remind_is_on: "The wake-up reminder is on", remind_is_off: "The wake-up reminder is off",
  round_title: "Last round", members: "Joined", winners: "Got up", pot: "Shared", largest: "Largest", smallest: "Smallest",
  missed: "Overslept", fair: "Are packets fair? Check yourself",
  fair_text: "A round's packets follow from a seed, mixed with what was stated when check-in had closed. Its fingerprint (SHA-256) is public before anybody joins, the seed itself once the round is settled. Tap, and this device computes them again and compares each with what was published.",
  seed_hash: "SHA-256 of the seed (published before)", seed: "Seed (published after settlement)",
  talents: "Yesterday's best", longest: "Longest streak", luckiest: "Luckiest", earliest: "Earliest", day: "{0} day", days: "{0} days", nobody: "Nobody",
  board: "Income board", board_empty: "Nobody is on the board yet",
  mornings: "My mornings", streak: "Streak", long_days: "Longest", clock_days: "Mornings", joined: "Joined", income: "Packets", best: "Largest",
  history: "My account", history_empty: "Nothing here yet",
  state_owed: "queued", state_unknown: "being sent", state_processing: "being sent", state_done: "arrived", state_failed: "failed",
  rules: "How it works",
  rule_1: "Join between {0} and {1} for a stake of {2}. If you were in yesterday's round, you can join again after it is settled at {3}.",
  rule_2: "Check in the next morning, {0} – {1}. The server's clock counts, not your phone's.",
  rule_3: "Who checks in gets the stake back and shares the stakes of those who did not. It is settled at {0}; packets are random.",
  rule_3_equal: "Who checks in gets the stake back and an equal share of the stakes of those who did not. It is settled at {0}.",
  rule_4: "Open your packet before {0}. If you forget, it is credited by itself: nothing is lost.",
  rule_5: "Who does not check in loses the stake.",
  rule_6: "If nobody checks in, every stake is refunded.", rule_6_carry: "If nobody checks in, the money goes into the next round.",
  rule_7: "There is no fee, and every cent is accounted for.", rule_7_fee: "The fee is {0} of the stakes of those who overslept.",
  neighbour: "User {0}",
 
  result_void: "The round of {0} was called off", result_void_text: "Your stake of {0} is refunded; there are no packets.",
  called_off: "Called off", called_off_hint: "Every stake is refunded. You can join the next round from {0} tomorrow",
  order_late: "Joining has closed. Once your payment has arrived, you are in or it is refunded: see your account",
  yest_pool: "Yesterday's pool", round_empty: "Nobody joined this round",
  board_text: "By the sum of red packets; a round counts once all of its packets are open", balance: "Balance", my_number: "You are user {0}. Tell support this, and the number of the line in your account",
  not_yet: "Once all are open", fair_check: "Check this round on my device", fair_running: "Checking…",
  fair_agrees: "It agrees to the cent", fair_differs: "It does not agree: keep a screenshot", fair_good: "Good:",
  fair_bad: "Wrong:", fair_none: "Not checked:", fair_noted: "The fingerprint is the one this device noted before settlement",
  fair_not_noted: "The fingerprint is not the one this device noted before settlement",
  fair_never_noted: "This device had not seen the round before it was settled: no fingerprint was noted",
  fair_seed: "The seed's SHA-256 is the published fingerprint",
  fair_not_seed: "The seed's SHA-256 is not the published fingerprint",
  fair_drawn: "The draw is the seed mixed with what was stated before it",
  fair_not_drawn: "The draw is not the seed mixed with what was stated before it",
  fair_missing_beacon: "No public beacon is used: nothing proves that the operator, who knows the seed, did not play along",
  fair_missing_witnesses: "No witness has signed: nothing proves that everybody is shown the same round",
  fair_missing_statements: "This round has no signed statements: nothing proves that rules and figures were not changed",
  fair_no_digest: "Browsers compute SHA-256 on https pages only: not checked",
  fair_pot: "Shared {0} = forfeited stakes {1} − fee {2} + carried in {3}",
  fair_pot_bonus: "Shared {0} = forfeited stakes {1} − fee {2} + carried in {3} + bonus {4}",
  fair_packets: "All {0} packets, computed from the draw, are those published",
  fair_not_packets: "Packet {0} is not the one that follows from the draw",
  fair_sum: "The packets, {0}, and what is carried on, {1}, are all that was shared", fair_mine: "By your rank, packet {0} is yours: {1}",
  fair_not_mine: "Packet {0}, which is yours by your rank, is {1}; you got another one", seed_next: "SHA-256 of the seed of the round that goes on now",
  fair_opened: "The promise (statement O) is the one this device noted before settlement", fair_not_opened: "The promise (statement O) is not the one this device noted before settlement",
  fair_never_opened: "This device had not noted the promise (statement O) before settlement",
  fair_linked: "The three statements, opened, closed and published, follow from one another", fair_not_linked: "The three statements do not follow from one another",
  fair_stated: "The published rules, numbers and sums are those of the statements", fair_not_stated: "The published rules, numbers or sums are not those of the statements",
  fair_signed: "The statements are signed by the keys this device knows", fair_not_signed: "The statements are not signed as they must be by a key this device knows", fair_no_signatures: "This device's browser cannot check signatures (Ed25519)",
  fair_beacon: "Draw {1} of the public beacon {0} was mixed in. Browsers cannot check its signature: look it up at {2}, where it must begin with {3}",
  fair_missing_draw: "The public draw was not to be had in time: this round was split equally, without lucky packets",
  fair_late_draw: "The public draw was out before this round was closed: it was split equally, without lucky packets",
  receipts: "Receipts", receipts_text: "Signed by the service, kept on this device, and checked here when the round is published.",
  receipt_stake: "paid", receipt_checked_in: "checked in", receipt_save: "Download",
  receipt_kept: "{0}, {1}: receipt kept", receipt_good: "{0}, {1}: the receipt is good, and in what was stated before the draw",
  receipt_unsigned: "{0}, {1}: the receipt is in what was stated before the draw; this device cannot check signatures",
  receipt_unknown: "{0}, {1}: receipt kept, it could not be checked just now", receipt_unable: "{0}, {1}: receipt kept, this device cannot check it",
  receipt_void: "{0}, {1}: the round was called off, the receipt is for the refund",
  receipt_denied: "{0}, {1}: the receipt is not in what was stated. Download it, keep a screenshot, and ask the app's support",
  receipt_forged: "{0}, {1}: a signature of the receipt, or of what was stated, is wrong. Download it, keep a screenshot, and ask the app's support",
  checking: "Checking",
  checking_hint: "A payment has arrived and is looked into. It is not lost: do not pay again, the result appears here",
  expired: "Sign in again",
  expired_hint: "Your session has ended, please open this page from the app again",
  expired_stake: "Your session has ended. Your stake of {0} is in the round of {1}: open this page from the app again and check in before {2}",
  loading_hint: "Updating",
  result_back_text: "Your stake is not lost: {0} is refunded.",
  result_carried_text: "Nobody checked in: the money goes into the next round.",
  result_extended: "Check-in was {0} minutes longer.",
  result_none: "No packet today: your stake is back",
  packet_all_up: "Everybody got up, so there was nothing to share: your stake comes back",
  packet_small: "{0} overslept and left fewer cents than there are early risers: there was none for you this time. Your stake comes back",
  next_title: "Other rules in the round of {0}",
  rule_bonus: "The house adds {0} to what is shared.",
  rule_lucky: "First, {0} of them share {1} of it.",
  rule_cap: "No packet is above {0}.",
  events_help: "What did not arrive is not lost: it is in your balance, from which you can withdraw it, or will be sent again. If in doubt ask the app's support, and name the round.",
  rule_push: "When you open your packet, stake and packet are sent to you. What cannot be sent is in your balance, and you can withdraw it.",
  rule_pull: "If you win, your stake goes back by itself to where you paid from; the packet goes into your balance. You can withdraw it, and confirm that you take it.",
  not_prepared: "The payment provider does not answer just now, please tap again", code_title: "Pay with a code", code_text: "Open this link in the payment app. This page finds the payment by itself: do not pay twice", code_paid: "I have paid",
  balance_push: "What could not be sent to you is here.", balance_pull: "Your packets, and what could not be sent to you, are here.",
  balance_kept: "From {0} on you can withdraw it. It never expires, and pays for nothing.",
  withdraw: "Withdraw {0}", withdraw_confirm: "Confirm {0}", withdraw_open: "Withdrawal of {0}: {1}", withdraw_waits: "A withdrawal of {0} waits until you confirm it, for 24 hours",
  withdraw_below: "You can withdraw from {0} on: {1} to go.", withdraw_failed: "It did not arrive last time ({0}). It is back in your balance, and you can withdraw it again.",
  withdraw_lapsed: "The last withdrawal was not confirmed in time. It is back in your balance, and you can withdraw it again.", no_confirmer: "Open this page in the app that receives it, and confirm there",
};

const SAVED = "clock.language";

/** `language` is `zh` or `en`. */
export const tongue = { language: device.get(SAVED) || (/^en/i.test(navigator.language) ? "en" : "zh") };

/** The sentence of that name, with `{0}`, `{1}`, … filled in. */
export function t(name, ...values) {
  const text = (tongue.language === "en" ? EN : ZH)[name] ?? name;
  return text.replace(/\{(\d)\}/g, (_, i) => values[i]);
}

export function has(name) {
  return name in ZH;
}

export function switchLanguage() {
  tongue.language = tongue.language === "en" ? "zh" : "en";
  device.set(SAVED, tongue.language);
}

/** Fen as yuan, with two decimals and without a sign: 123456 is `1,234.56`. */
export function yuan(fen) {
  return new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 }).format(fen / 100);
}

/** Fen as a price: `¥1` for whole yuan, `¥0.37` for others. */
export function price(fen) {
  return `¥${fen % 100 ? yuan(fen) : new Intl.NumberFormat("en").format(fen / 100)}`;
}

export function number(count) {
  return new Intl.NumberFormat("en").format(count);
}

export const days = (count) => t(count === 1 ? "day" : "days", number(count));

/** Milliseconds left as `23:59:59`; a second that has begun counts. */
export function span(ms) {
  const left = Math.max(0, Math.ceil(ms / 1000));
  return [left / 3600, (left / 60) % 60, left % 60].map((part) => String(Math.floor(part)).padStart(2, "0")).join(":");
}

/** Puts every marked text of the document into the chosen language. */
export function translate() {
  document.documentElement.lang = tongue.language === "en" ? "en" : "zh-CN";
  document.title = t("title");
  for (const node of document.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of document.querySelectorAll("[data-t-label]")) node.setAttribute("aria-label", t(node.dataset.tLabel));
}
