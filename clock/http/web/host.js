/** The host around the page: a page that frames it, or WeChat's mini-program. What the page needs of its host goes there
 *  as a message; what the host says is heard from its own origins alone (docs/embedding.md). */

/** `origins`: who may frame the page. `miniprogram_pay`: the mini-program's own page that takes payments. */
export function connectHost() {
  const meta = document.querySelector("meta[name=clock-host]");
  if (!meta) return;
  const { origins, miniprogram_pay } = JSON.parse(meta.content);
  if (parent !== window) connectFrame(origins);
  else if (miniprogram_pay && isInMiniProgram()) connectMiniProgram(miniprogram_pay);
}

const isInMiniProgram = () =>
  window.__wxjs_environment === "miniprogram" || /\bminiProgram\b/i.test(navigator.userAgent);

function connectFrame(origins) {
  /** Nobody else can frame the page; Firefox does not say which of them does. */
  const ancestor = location.ancestorOrigins?.[0];
  const hosts = ancestor === undefined ? origins : origins.filter((origin) => origin === ancestor);
  const tell = (type, detail = {}) => hosts.forEach((origin) => parent.postMessage({ type, detail }, origin));
  let paying = null;
  addEventListener("clock:pay", (event) => {
    event.preventDefault();
    const { done, ...order } = event.detail;
    paying = event.detail;
    tell("clock:pay", order);
  });
  addEventListener("clock:expired", ({ detail }) => tell("clock:expired", detail));
  addEventListener("message", ({ source, origin, data }) => {
    if (source !== parent || !hosts.includes(origin)) return;
    if (data?.type === "clock:token") enter(data.detail);
    if (data?.type === "clock:paid" && paying && data.detail?.order_no === paying.order_no) {
      const { done } = paying;
      paying = null;
      done();
    }
  });
  tell("clock:ready");
}

/** As if the host had opened the page with it. */
function enter({ token, openId = "", mobile = "", nickname = "" }) {
  location.replace(`#${new URLSearchParams({ token, openId, mobile, nickname })}`);
}

/** Paying leads to a page of the mini-program's own, and back. */
function connectMiniProgram(path) {
  document.head.append(document.getElementById("wechat").content.cloneNode(true));
  let done = null;
  addEventListener("clock:pay", (event) => {
    if (!globalThis.wx?.miniProgram) return; // WeChat's script has not come: the page says that nobody takes payments
    event.preventDefault();
    done = event.detail.done;
    const { order_no, amount } = event.detail;
    wx.miniProgram.navigateTo({ url: `${path}?${new URLSearchParams({ order_no, amount })}` });
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
