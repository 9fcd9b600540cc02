// Feeds index.html, in a real headless Chromium without a network, each bundle of a corpus and compares the verdicts.
//
//     node browser.mjs --chromium PATH --html FILE --corpus DIR [--flips N --seed S]
//
// Speaks the DevTools protocol over a pipe; nothing but Node 20 is needed. Exit code 0: all agree.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const WAIT_MS = 30_000;
const FLIPPED = "good-cosigned-by-two.zip";

function argumentsOf(argv) {
  const given = { flips: "0", seed: "1" };
  for (let i = 0; i < argv.length; i += 2) {
    const name = argv[i].replace(/^--/, "");
    if (!["chromium", "html", "corpus", "flips", "seed"].includes(name) || argv[i + 1] === undefined) {
      throw new Error(`not understood: ${argv[i]}`);
    }
    given[name] = argv[i + 1];
  }
  for (const name of ["chromium", "html", "corpus"]) if (!given[name]) throw new Error(`--${name} is missing`);
  return given;
}

/** A browser, spoken to over file descriptors 3 and 4: JSON messages, each ended by a zero byte. */
class Browser {
  constructor(path, profile) {
    this.process = spawn(path, ["--headless=new", "--remote-debugging-pipe", `--user-data-dir=${profile}`, "--no-sandbox",
      "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND", "about:blank"],
    { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
    this.last = 0;
    this.waiting = new Map();
    this.listeners = [];
    this.process.on("exit", code => {
      for (const { reject } of this.waiting.values()) reject(new Error(`the browser ended with ${code}`));
    });
    this.process.on("error", error => {
      for (const { reject } of this.waiting.values()) reject(error);
    });
    let pending = Buffer.alloc(0);
    this.process.stdio[3].on("error", () => {});
    this.process.stdio[4].on("data", data => {
      pending = Buffer.concat([pending, data]);
      for (let end; (end = pending.indexOf(0)) >= 0; pending = pending.subarray(end + 1)) {
        this.take(JSON.parse(pending.subarray(0, end).toString()));
      }
    });
  }
  take(message) {
    if (message.id === undefined) {
      for (const listener of this.listeners) listener(message);
      return;
    }
    const { resolve, reject, timer } = this.waiting.get(message.id);
    this.waiting.delete(message.id);
    clearTimeout(timer);
    if (message.error) reject(new Error(message.error.message)); else resolve(message.result);
  }
  send(method, params = {}, sessionId = undefined) {
    const id = ++this.last;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${method}: no answer`)), 2 * WAIT_MS);
      this.waiting.set(id, { resolve, reject, timer });
      this.process.stdio[3].write(JSON.stringify({ id, method, params, sessionId }) + "\0");
    });
  }
  async close() {
    const ended = new Promise(resolve => this.process.once("exit", resolve));
    this.send("Browser.close").catch(() => {});
    const timer = setTimeout(() => this.process.kill("SIGKILL"), 5000);
    await ended;
    clearTimeout(timer);
  }
}

/** One page with index.html in it. */
class Page {
  static async open(browser, html) {
    const page = new Page();
    page.browser = browser;
    page.asked = [];
    page.complaints = [];
    const { targetId } = await browser.send("Target.createTarget", { url: "about:blank" });
    page.session = (await browser.send("Target.attachToTarget", { targetId, flatten: true })).sessionId;
    browser.listeners.push(({ method, params }) => {
      if (method === "Network.requestWillBeSent" && !/^(file|blob|about):/.test(params.request.url)) page.asked.push(params.request.url);
      if (method === "Runtime.exceptionThrown") page.complaints.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
      if (method === "Page.javascriptDialogOpening") page.complaints.push("a dialog: something of a bundle has run");
    });
    for (const domain of ["Page", "Runtime", "Network", "DOM"]) await page.send(`${domain}.enable`);
    await page.send("Network.emulateNetworkConditions", { offline: true, latency: 0, downloadThroughput: 0, uploadThroughput: 0 });
    await page.send("Page.navigate", { url: pathToFileURL(html).href });
    await page.evaluate(`new Promise(done => document.readyState === "complete" ? done() : addEventListener("load", done))`);
    await page.evaluate(`document.querySelector("#bundle") ? 0 : Promise.reject("the page is not there")`);
    return page;
  }
  send(method, params = {}) { return this.browser.send(method, params, this.session); }
  async evaluate(expression) {
    const answer = await this.send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
    if (answer.exceptionDetails) throw new Error(answer.exceptionDetails.exception?.description ?? answer.exceptionDetails.text);
    return answer.result.value;
  }
  async choose(id, files) {
    const { result } = await this.send("Runtime.evaluate", { expression: `document.getElementById(${JSON.stringify(id)})` });
    await this.send("DOM.setFileInputFiles", { files, objectId: result.objectId });
  }
  /** The verdict on a file, as `verify.py --json` would print it. */
  async verdict(path) {
    await this.evaluate(`delete document.documentElement.dataset.verdict; document.getElementById("bundle").value = ""; 0`);
    await this.choose("bundle", [path]);
    return this.evaluate(`new Promise((done, failed) => {
      const root = document.documentElement, look = () => {
        if (root.dataset.verdict !== undefined) { observer.disconnect(); clearTimeout(timer); done(root.dataset.verdict); }
      };
      const observer = new MutationObserver(look);
      const timer = setTimeout(() => failed(new Error("no verdict")), ${WAIT_MS});
      observer.observe(root, { attributes: true });
      look();
    })`);
  }
}

/** Members in one order, so that two verdicts compare as text. */
function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.keys(value).sort().map(name => [name, sorted(value[name])]));
}
const spelled = value => JSON.stringify(sorted(value));

/** Numbers from a seed (mulberry32), below `end`. */
function randomFrom(seed) {
  let state = seed >>> 0;
  return end => {
    state = state + 0x6d2b79f5 >>> 0;
    let t = Math.imul(state ^ state >>> 15, state | 1);
    t ^= t + Math.imul(t ^ t >>> 7, t | 61);
    return Math.floor(((t ^ t >>> 14) >>> 0) / 2 ** 32 * end);
  };
}

async function main() {
  const given = argumentsOf(process.argv.slice(2));
  const corpus = resolve(given.corpus), work = mkdtempSync(join(tmpdir(), "browser-"));
  const browser = new Browser(given.chromium, join(work, "profile"));
  const faults = [];
  let compared = 0;
  const compare = (where, found, wanted) => {
    compared += 1;
    if (found !== wanted) faults.push(`${where}: ${found}, and not ${wanted}`);
  };
  try {
    const page = await Page.open(browser, resolve(given.html));
    const { bundles, refused_policies: refused } = JSON.parse(readFileSync(join(corpus, "expected.json"), "utf8"));
    const policies = new Set(Object.values(bundles).flatMap(Object.keys));
    for (const policy of policies) {
      await page.evaluate(`document.getElementById("policy").value = ""; 0`);
      if (policy) await page.choose("policy", [join(corpus, "policies", policy)]);
      for (const [name, wanted] of Object.entries(bundles)) {
        const text = await page.verdict(join(corpus, name)), found = JSON.parse(text), want = wanted[policy];
        compare(`${name} with ${policy || "no policy"}`, `${found.check} ${found.integrity}`, `${want.check} ${want.check ? "broken" : "holds"}`);
        if (want.verdict) compare(`${name} with ${policy || "no policy"}`, text, spelled(want.verdict));
        if (found.check === null && !policy) await lookAt(page, name, faults);
      }
    }
    for (const policy of refused) {
      await page.choose("policy", [join(corpus, "policies", policy)]);
      const found = JSON.parse(await page.verdict(join(corpus, "good-one.zip")));
      compare(`good-one.zip with ${policy}`, found.integrity, "could not tell");
    }
    await page.evaluate(`document.getElementById("policy").value = ""; 0`);
    const whole = readFileSync(join(corpus, FLIPPED)), below = randomFrom(Number(given.seed));
    for (let flip = 0; flip < Number(given.flips); flip++) {
      const at = below(whole.length), bits = 1 + below(255), bytes = Buffer.from(whole);
      bytes[at] ^= bits;
      const path = join(work, `flip-${flip % 8}.zip`);
      writeFileSync(path, bytes);
      compare(`${FLIPPED}, byte ${at} xor ${bits}`, JSON.parse(await page.verdict(path)).integrity, "broken");
    }
    faults.push(...page.asked.map(url => `the network was asked for ${url}`), ...page.complaints);
    const title = await page.evaluate("document.title");
    if (title !== "Check of an evidence bundle") faults.push(`the title became ${title}`);
  } finally {
    await browser.close();
    rmSync(work, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
  for (const fault of faults) console.error(fault);
  console.log(`${compared} verdicts compared, ${faults.length} faults`);
  return faults.length === 0 && compared > 0 ? 0 : 1;
}

/** Opens each record: what is in it must become text, and nothing else. */
async function lookAt(page, name, faults) {
  await page.evaluate(`(async () => {
    for (const record of document.querySelectorAll("#records > details")) record.open = true;
    await new Promise(done => setTimeout(done, 50));
  })()`);
  const foreign = await page.evaluate(`document.querySelectorAll("main script, main img, main iframe, main svg, main a").length`);
  if (foreign !== 0) faults.push(`${name}: markup of the bundle is in the page`);
  if (name === "good-all.zip") {
    const text = await page.evaluate(`document.querySelector("#records").textContent`);
    for (const said of ["No, the sun shines.<img src=x onerror=alert(1)>", "Is it raining? <script>alert(1)</script>", "Hello back.",
      "[tool weather] {\"city\":\"Oslo\"}", "Be kind."]) {
      if (!text.includes(said)) faults.push(`${name}: not shown: ${said}`);
    }
  }
}

main().then(code => process.exit(code), error => { console.error(error); process.exit(1); });
