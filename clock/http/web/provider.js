/** Paying, and confirming a withdrawal, where no host does it: WeChat's own browser, the provider's page, or its code. */

import { closeDialog, make, openDialog } from "/web/dom.js";
import { isInMiniProgram } from "/web/host.js";
import { t } from "/web/texts.js";

/** WeChat's browser; the pages of a mini-program have the bridge too, and may not pay with it. */
const inWeChat = () => Boolean(globalThis.WeixinJSBridge) && !isInMiniProgram();

/** Whether anybody takes the payment. `done` is called when it may have been made. */
export function payHere(pay, done) {
  if (pay.paySign && inWeChat()) {
    const { appId, timeStamp, nonceStr, signType, paySign } = pay;
    const given = { appId, timeStamp, nonceStr, package: pay.package, signType, paySign };
    WeixinJSBridge.invoke("getBrandWCPayRequest", given, ({ err_msg }) => err_msg === "get_brand_wcpay_request:ok" && done());
  } else if (pay.h5_url || pay.url) {
    done(); // it outlives the page, which asks for the payment when it is opened again
    visit(pay.h5_url || pay.url);
  } else if (pay.code_url) {
    showCode(pay.code_url, done);
  } else return false;
  return true;
}

/** Whether anybody asks the user to confirm a transfer. `done` is called when the provider's page was shown. */
export function confirmHere({ mchId, appId, package: given }, done) {
  if (!given || !inWeChat()) return false;
  WeixinJSBridge.invoke("requestMerchantTransfer", { mchId, appId, package: given }, () => done());
  return true;
}

/** A provider may want to know from which site a payer comes (WeChat's H5 page does); no other page is told. */
function visit(url) {
  const link = make("a");
  link.href = url;
  link.referrerPolicy = "origin";
  document.body.append(link);
  link.click();
  link.remove();
}

const shown = make("dialog", "till");
shown.setAttribute("aria-labelledby", "code-title");
document.body.append(shown);

/** The link that the provider's app reads; the page finds the payment by itself. */
function showCode(url, done) {
  const title = make("h2", "", t("code_title"));
  title.id = "code-title";
  const link = make("a", "code", url);
  link.href = url;
  const [yes, no] = [make("button", "till-yes", t("code_paid")), make("button", "plain", t("close"))];
  yes.addEventListener("click", () => {
    closeDialog(shown);
    done();
  });
  no.addEventListener("click", () => closeDialog(shown));
  shown.replaceChildren(title, make("p", "soft", t("code_text")), link, yes, no);
  openDialog(shown);
}
