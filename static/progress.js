// Follows a running deployment: events by EventSource, by polling where a proxy holds the stream back, and the finished
// page fetched from the server. All words come from the server.

const FIRST_MS = 4_000; // the server speaks at once; a proxy that collects what it is sent does not
const SILENCE_MS = 12_000; // later it sends a heartbeat every 5 s
const GRACE_MS = 1_500; // a reconnection this quick is nobody's business
const SPEAK_MS = 2_000;
const BACK_MS = 500; // to run back by one station
const MAX_ROWS = 2_000;
const POLL_MS = [2_000, 4_000, 8_000, 15_000];
const RETRY_MS = [10_000, 20_000, 40_000, 60_000];

const still = matchMedia("(prefers-reduced-motion)");
const byId = (id) => document.getElementById(id);
const copyOf = (id) => byId(id).content.firstElementChild.cloneNode(true);

/** The page, and how each effect changes it. */
class Board {
  constructor(run) {
    this.effects = {
      step: (change) => this.step(change),
      sentence: (change) => this.say(change),
      log: (change) => this.log(change),
      warning: (change) => this.warn(change),
      queue: (change) => this.queue(change),
      dequeue: () => this.dequeue(),
      undo: () => this.undo(),
      uncancelable: () => this.settle(),
      reload: () => this.reload(),
    };
    this.run = run;
    this.words = run.dataset;
    this.title = document.title;
    // This clock minus the server's, with the shortest way seen.
    this.skew = Date.now() - (Date.parse(this.words.clock ?? "") || -Infinity);
    this.spoken = 0;
    this.timer = 0;
    this.back = Promise.resolve();
    this.ticker = setInterval(() => this.tick(), 1_000);
    const log = byId("log");
    log.scrollTop = log.scrollHeight;
    this.count();
  }

  close() {
    clearInterval(this.ticker);
    clearTimeout(this.timer);
  }

  /** Apply what an event changes. What and in which order is the server's to say; an effect that is new is left out. */
  show(effects, at) {
    if (at) this.skew = Math.min(this.skew, Date.now() - Date.parse(at));
    for (const { effect, ...change } of effects) this.effects[effect]?.(change);
    this.count();
  }

  step(change) {
    if (!("undoing" in byId("stops").dataset)) this.change(change);
    else this.back = this.back.then(() => this.runBack(change));
  }

  /** One station after the other, so that it can be seen, however fast the work was; never before it is done. */
  async runBack(change) {
    if (!this.change(change)) return;
    this.count();
    if (!still.matches) await new Promise((done) => setTimeout(done, BACK_MS));
  }

  /** Change the stations that are meant; tell how many those are. */
  change({ name, only, state, words, note, since }) {
    const stops = [...this.run.querySelectorAll(".stop")].filter(
      ({ dataset }) => (!name || dataset.station === name) && (!only.length || only.includes(dataset.s)),
    );
    for (const stop of stops) {
      stop.dataset.s = state;
      for (const [attribute, value] of [["aria-current", "step"], ["data-began", since]]) {
        if (since) stop.setAttribute(attribute, value);
        else stop.removeAttribute(attribute);
      }
      stop.querySelector("[data-state]").textContent = words;
      if (note !== null) stop.querySelector("[data-note]").textContent = note;
    }
    return stops.length;
  }

  undo() {
    byId("stops").dataset.undoing = "";
    for (const part of this.run.querySelectorAll("[data-when]")) part.hidden = part.dataset.when !== "undoing";
    this.title = this.words.titleUndoing;
    document.querySelector('link[rel="icon"]').href = this.words.iconUndoing;
  }

  settle() {
    const held = document.activeElement?.closest("#sure, #cancel");
    for (const id of ["sure", "cancel"]) byId(id)?.remove();
    if (held) this.run.querySelector("h1").focus(); // else whoever was there would be nowhere
  }

  say({ text, spoken }) {
    const sentence = byId("sentence");
    if (text === sentence.textContent) return;
    sentence.textContent = text;
    if (!spoken) return;
    // Not faster than a screen reader can speak: the newest sentence wins.
    this.pending = text;
    if (this.timer) return;
    const wait = Math.max(0, this.spoken + SPEAK_MS - Date.now());
    this.timer = setTimeout(() => {
      this.timer = 0;
      this.spoken = Date.now();
      byId("speech").textContent = this.pending;
    }, wait);
  }

  queue({ before, position, between, shown }) {
    if (this.run.querySelector("#stops .yard")?.dataset.position === String(position)) return;
    this.dequeue();
    const yard = copyOf("yard");
    yard.dataset.position = position;
    const [more, other] = [yard.querySelector(".more"), yard.querySelector(".other")];
    if (between) more.querySelector("bdi").textContent = `+${between}`;
    else more.remove();
    for (const place of shown) {
      const train = other.cloneNode(true);
      train.lastElementChild.textContent = String(place);
      other.before(train);
    }
    other.remove();
    this.run.querySelector(`[data-station="${CSS.escape(before)}"]`)?.before(yard);
  }

  dequeue() {
    this.run.querySelector("#stops .yard")?.remove();
  }

  log({ n, time, step, text, raw }) {
    const box = byId("log");
    const follows = box.scrollHeight - box.scrollTop - box.clientHeight < 24;
    const row = copyOf("log-row");
    row.dataset.n = n;
    row.querySelector("time").textContent = time;
    row.querySelector("i").textContent = step;
    const words = row.querySelector("span");
    words.textContent = text;
    if (raw) Object.assign(words, { lang: "en", dir: "ltr" });
    const rows = box.querySelector("ol");
    rows.append(row);
    while (rows.childElementCount > MAX_ROWS) rows.firstElementChild.remove();
    byId("log-count").textContent = String(Number(byId("log-count").textContent) + 1);
    if (follows) box.scrollTop = box.scrollHeight;
  }

  warn({ text }) {
    const item = copyOf("warning");
    item.lastElementChild.textContent = text;
    byId("warnings").append(item);
  }

  /** Nothing more is shown here; what has run back is seen first. */
  reload() {
    feed.close();
    this.back.then(() => arrive());
  }

  tick() {
    for (const stop of this.run.querySelectorAll("[data-began]")) {
      const seconds = Math.floor((Date.now() - this.skew - Date.parse(stop.dataset.began)) / 1_000);
      if (seconds >= 2) stop.querySelector("[data-note]").textContent = this.duration(seconds);
    }
  }

  count() {
    const stops = [...this.run.querySelectorAll(".stop")];
    const done = stops.filter((stop) => stop.dataset.s === "done").length;
    document.title = `${done}/${stops.length} · ${this.title}`;
  }

  /** Whole seconds, as the server writes a duration. */
  duration(seconds) {
    const [unit, amount] = seconds < 90 ? ["second", seconds] : ["minute", Math.round(seconds / 60)];
    const style = { style: "unit", unit, unitDisplay: "short", numberingSystem: "latn" };
    return new Intl.NumberFormat(this.words.lang, style).format(amount).replaceAll(" ", "\u00a0");
  }
}

/** Brings the events: one EventSource, and polling as long as that is silent. */
class Feed {
  constructor(run, board) {
    this.board = board;
    this.address = run.dataset.events;
    this.lang = run.dataset.lang;
    this.last = Number(run.dataset.after);
    this.source = null;
    this.polling = false;
    this.polls = 0;
    this.retries = 0;
    this.timers = new Set();
    this.gone = false;
    this.open();
    this.watchdog = setInterval(() => this.watch(), 1_000);
  }

  close() {
    this.gone = true;
    this.source?.close();
    this.source = null;
    clearInterval(this.watchdog);
    for (const timer of this.timers) clearTimeout(timer);
    this.request?.abort();
  }

  later(wait, work) {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      if (!this.gone) work();
    }, wait);
    this.timers.add(timer);
  }

  open() {
    this.source?.close();
    // Every event by one name: a browser drops those that nobody listens to, and a newer portal may have more.
    const source = new EventSource(`${this.address}?named=false&after=${this.last}&lang=${this.lang}`);
    this.source = source;
    this.heard = Date.now();
    this.patience = FIRST_MS;
    source.addEventListener("message", (message) => {
      if (source !== this.source) return;
      this.alive();
      this.patience = SILENCE_MS;
      this.polling = false;
      this.retries = 0;
      this.take(message.data);
    });
    source.addEventListener("open", () => source === this.source && this.alive());
    source.addEventListener("error", () => {
      if (source !== this.source) return;
      // Closed for good by a refusal (a proxy's 502, or 204 after the end); else the browser tries again by itself.
      if (source.readyState === EventSource.CLOSED) this.fall();
      else this.later(GRACE_MS, () => source === this.source && source.readyState !== EventSource.OPEN && this.lost(true));
    });
  }

  alive() {
    this.heard = Date.now();
    this.lost(false);
  }

  lost(is) {
    byId("link")?.toggleAttribute("hidden", !is);
  }

  watch() {
    if (this.source && Date.now() - this.heard > this.patience) this.fall();
  }

  /** The stream does not work: poll, and try it again slower and slower. */
  fall() {
    this.source?.close();
    this.source = null;
    this.later(RETRY_MS[Math.min(this.retries, RETRY_MS.length - 1)], () => this.source || this.open());
    this.retries += 1;
    if (this.polling) return;
    this.polling = true;
    this.poll();
  }

  async poll() {
    if (!this.polling || this.gone) return;
    this.request = new AbortController();
    const limit = setTimeout(() => this.request.abort(), SILENCE_MS);
    try {
      const url = `${this.address}?after=${this.last}&follow=false&lang=${this.lang}`;
      const response = await fetch(url, { headers: { accept: "application/x-ndjson" }, cache: "no-store", signal: this.request.signal });
      if (!response.ok) throw new Error(String(response.status));
      const text = await response.text();
      if (this.gone) return;
      this.polls = 0;
      this.lost(false);
      // 204: there is nothing after this; the deployment is over.
      if (response.status === 204) {
        arrive();
        return;
      }
      for (const line of text.split("\n")) if (line.trim()) this.take(line);
    } catch {
      if (this.gone) return;
      this.polls += 1;
      this.lost(true);
    } finally {
      clearTimeout(limit);
    }
    this.later(POLL_MS[Math.min(this.polls, POLL_MS.length - 1)], () => this.poll());
  }

  take(text) {
    const { n, at, effects } = JSON.parse(text);
    if (this.gone || n <= this.last) return;
    this.last = n ?? this.last;
    if (effects) this.board.show(effects, at);
    else if (n) arrive(); // told by an older portal, which leaves it to the page what that means
  }

  /** The page was asleep or hidden: do not wait for a timer to notice. */
  wake() {
    if (this.gone) return;
    if (!this.source) this.open();
    else this.watch();
  }
}

/** A notification at the end, for whoever asked for one and may have it. */
class Notice {
  constructor(run) {
    this.key = `notify:${run.dataset.events}`;
    this.button = byId("notify");
    // Browsers offer it to secure pages only; some have it, and no way to keep the choice.
    if (!this.button || !window.isSecureContext || !("Notification" in window)) return;
    this.button.hidden = false;
    this.set(Notification.permission === "granted" && sessionStorage.getItem(this.key) === "yes");
    this.button.addEventListener("click", () => this.choose());
  }

  set(wanted) {
    this.wanted = wanted;
    this.button.setAttribute("aria-pressed", String(wanted));
    if (wanted) navigator.serviceWorker?.register(this.button.dataset.worker).catch(() => {});
  }

  async choose() {
    const said = byId("notify-said");
    const allowed = this.wanted || (await Notification.requestPermission()) === "granted";
    this.set(allowed && !this.wanted);
    sessionStorage.setItem(this.key, this.wanted ? "yes" : "no");
    if (this.wanted) said.textContent = this.button.dataset.yes;
    else said.textContent = allowed ? "" : this.button.dataset.no;
  }

  async show() {
    if (!this.wanted) return;
    const { lang, dir } = document.documentElement;
    const address = location.origin + location.pathname;
    const icon = document.querySelector('link[rel="icon"]').href;
    const words = { body: document.querySelector(".lead").innerText, tag: address, data: address, icon, lang, dir };
    const title = document.querySelector("h1").innerText;
    const worker = await navigator.serviceWorker?.getRegistration(this.button.dataset.worker);
    if (worker?.active) await worker.showNotification(title, words);
    else new Notification(title, words);
  }
}

let board = null;
let feed = null;
let notice = null;
let arriving = false;

function leave() {
  feed?.close();
  board?.close();
  feed = board = null;
}

function setUp() {
  const run = document.querySelector("#run[data-events]");
  if (!run) return;
  notice = new Notice(run);
  board = new Board(run);
  feed = new Feed(run, board);
}

/** Fetch the page again and put its main part in place of this one. */
async function arrive(attempt = 0) {
  if (arriving && attempt === 0) return;
  arriving = true;
  leave();
  try {
    const response = await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-store" });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const main = page.querySelector("main");
    if (!main || response.status >= 500) throw new Error(String(response.status));
    if (page.documentElement.lang !== document.documentElement.lang) {
      location.reload(); // another language was chosen in another tab
      return;
    }
    const elsewhere = document.activeElement?.closest("header, footer");
    const wasOpen = document.querySelector("details.logs")?.open;
    document.querySelector("main").replaceWith(document.adoptNode(main));
    document.title = page.title;
    document.querySelector('link[rel="icon"]').href = page.querySelector('link[rel="icon"]').getAttribute("href");
    const logs = document.querySelector("details.logs");
    if (logs && wasOpen && document.querySelector("#run[data-events]")) logs.open = true;
    arriving = false;
    // Over, as a rule. After a gap it still runs: go on from where the new page stands, without a hurry.
    if (document.querySelector("#run[data-events]")) setTimeout(() => feed ?? setUp(), 1_000);
    else {
      if (!elsewhere) document.querySelector("h1")?.focus();
      notice?.show().catch(() => {}); // the page itself says it, too
    }
  } catch {
    byId("link")?.removeAttribute("hidden");
    setTimeout(arrive, POLL_MS[Math.min(attempt, POLL_MS.length - 1)], attempt + 1);
  }
}

setUp();
// A page in the browser's back-forward cache keeps no connection, and comes back to a later moment.
window.addEventListener("pagehide", leave);
window.addEventListener("pageshow", (event) => event.persisted && arrive());
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && feed?.wake());
window.addEventListener("online", () => feed?.wake());
