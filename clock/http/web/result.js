/** What the last round brought: until it has been seen, and the opened packet all day long. */

import { session } from "/web/api.js";
import { find, put } from "/web/dom.js";
import { device } from "/web/kept.js";
import { price, t } from "/web/texts.js";

const keyOf = (who) => `clock.claimed.${who.uid}`;

/** The last claim that was acknowledged to the caller here: `{round, assign}`, or null. */
export const keptClaim = () => session.caller && device.get(keyOf(session.caller));

export function keepClaim(claimed) {
  device.set(keyOf(session.caller), claimed);
}

/** `past`: the published figures of the last settled round, or null. */
export function showResult(summary, claimed, past) {
  const { result } = summary;
  const mine = claimed && claimed.round === (summary.yesterday?.round ?? result?.round) ? claimed : null;
  const about = result && told(result, summary, past);
  const told_ = about ?? (mine && won(mine.assign, null));
  find("result").hidden = !told_;
  find("result").classList.toggle("won", told_?.good === true);
  find("result-done").hidden = !about;
  put(find("result-title"), told_?.title ?? "");
  put(find("result-text"), told_?.text ?? "");
}

/** A result in words; null while its packet waits to be opened. */
function told(result, summary, past) {
  const { yesterday } = summary;
  if (result.void) return { title: t("result_void", result.round), text: t("result_void_text", price(result.stake)) };
  if (result.clock_status === 2) {
    const waits = !result.claimed && (yesterday?.round !== result.round || yesterday.red_status === 1);
    return waits ? null : won(result, result.sleepers);
  }
  const longer = result.extended_s ? ` ${t("result_extended", Math.round(result.extended_s / 60))}` : "";
  return { title: t("result_missed", result.round), text: missed(result, past) + longer };
}

function won({ money, stake, total }, sleepers) {
  const title = money ? t("result_won", price(money)) : t("result_none");
  return { good: true, title, text: money ? t("result_won_text", price(money), price(stake), price(total)) : noPacket(sleepers) };
}

/** Why there is nothing in a packet: not everybody got up where somebody slept. `sleepers` is null where it is not known. */
export function noPacket(sleepers) {
  if (sleepers === null) return t("packet_none");
  return sleepers > 0 ? t("packet_small", sleepers) : t("packet_all_up");
}

function missed(result, past) {
  if (result.total > 0) return t("result_back_text", price(result.total));
  return t(past?.day === result.round && past.winners === 0 ? "result_carried_text" : "result_missed_text");
}
