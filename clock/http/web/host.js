/** The host around the page: a page that frames it, or WeChat's mini-program. What the page needs of its host goes there
 *  as a message; what the host says is heard from its own origins alone (docs/embedding.md). */

/** What a host is asked for, what it answers, and the number that both name. */
const ASKED = [["clock:pay", "clock:paid", "order_no"], ["clock:confirm", "clock:confirmed", "no"]];

/** `origins`: who may frame the page. `miniprogram_pay`: the mini-program's own page that takes payments. */
export function connectHost() {
  const meta = document.querySelector("meta[name=clock-host]");
  if (!meta) return;
  const { origins, miniprogram_pay } = JSON.parse(meta.content);
  if (parent !== window) connectFrame(origins);
  else if (miniprogram_pay && isInMiniProgram()) connectMiniProgram(miniprogram_pay);
}

export const isInMiniProgram = () =>
  window.__wxjs_environment === "miniprogram" || /\bminiProgram\b/i.test(navigator.userAgent);

function connectFrame(origins) {
  /** Nobody else can frame the page; Firefox does not say which of them does. */
  const ancestor = location.ancestorOrigins?.[0];
  const hosts = ancestor === undefined ? origins : origins.filter((origin) => origin === ancestor);
  const tell = (type, detail = {}) => hosts.forEach((origin) => parent.postMessage({ type, detail }, origin));
  /** What the host was asked for last, by the name of its answer; `done` cannot be sent. */
  const asked = new Map();
  for (const [type, answer, key] of ASKED) {
    addEventListener(type, (event) => {
      event.preventDefault();
      const { done, ...detail } = event.detail;
      asked.set(answer, { done, key, value: detail[key] });
      tell(type, detail);
    });
  }
  addEventListener("clock:expired", ({ detail }) => tell("clock:expired", detail));
  addEventListener("message", ({ source, origin, data }) => {
    if (source !== parent || !hosts.includes(origin)) return;
    if (data?.type === "clock:token") enter(data.detail);
    const about = asked.get(data?.type);
    if (about && data.detail?.[about.key] === about.value) {
      asked.delete(data.type);
      about.done();
    }
  });
  tell("clock:ready");
}

/** As if the host had opened the page with it. */
function enter({ token, openId = "", mobile = "", nickname = "", how = "" }) {
  location.replace(`#${new URLSearchParams({ token, openId, mobile, nickname, how })}`);
}

/** Paying, and confirming a withdrawal, lead to a page of the mini-program's own, and back. */
function connectMiniProgram(path) {
  document.head.append(document.getElementById("wechat").content.cloneNode(true));
  let done = null;
  const leave = (event, query) => {
    if (!globalThis.wx?.miniProgram) return; // WeChat's script has not come: the page says that nobody does it
    event.preventDefault();
    done = event.detail.done;
    wx.miniProgram.navigateTo({ url: `${path}?${new URLSearchParams(query)}` });
  };
  addEventListener("clock:pay", (event) => {
    const { order_no, amount, pay } = event.detail;
    leave(event, pay.paySign ? { order_no, amount, pay: JSON.stringify(pay) } : { order_no, amount });
  });
  addEventListener("clock:confirm", (event) => {
    const { no, amount, confirm } = event.detail;
    leave(event, { no, amount, confirm: JSON.stringify(confirm) });
  });
  const back = () => {
    done?.();
    done = null;
  };
  const listen = () => WeixinJSBridge.on("onPageStateChange", ({ active }) => String(active) === "true" && back());
  if (globalThis.WeixinJSBridge) listen();
  else document.addEventListener("WeixinJSBridgeReady", listen, { once: true });
  document.addEventListener("visibilitychange", () => document.hidden || back());
  addEventListener("clock:expired", ({ type, detail }) => globalThis.wx?.miniProgram?.postMessage({ data: { type, detail } }));
}
