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
const TYPES = [
  "deployment_queued",
  "deployment_started",
  "deployment_resumed",
  "step_started",
  "step_succeeded",
  "step_failed",
  "queue_position",
  "progressed",
  "log_line",
  "warning",
  "cancel_requested",
  "undo_started",
  "step_compensated",
  "step_compensation_failed",
  "deployment_completed",
  "heartbeat",
  "waiting",
  "gap",
  "pause",
];

const still = matchMedia("(prefers-reduced-motion)");
const byId = (id) => document.getElementById(id);
const copyOf = (id) => byId(id).content.firstElementChild.cloneNode(true);

/** What the events do to the page. */
class Board {
  constructor(run) {
    this.run = run;
    this.words = run.dataset;
    this.title = document.title;
    this.start = Date.parse(this.words.started ?? "");
    // This clock minus the server's, with the shortest way seen.
    this.skew = Date.now() - (Date.parse(this.words.clock ?? "") || -Infinity);
    this.began = new Map();
    for (const stop of run.querySelectorAll("[data-began]")) this.began.set(stop.dataset.station, Date.parse(stop.dataset.began));
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

  show(event) {
    const { type, params = {}, message = "", at } = event;
    const moment = Date.parse(at);
    this.skew = Math.min(this.skew, Date.now() - moment);
    if (Number.isNaN(this.start)) this.start = moment;
    this.log(event, moment);
    if (type === "log_line") return;
    // Whatever else happens, it no longer waits in line.
    if (type === "queue_position") this.queue(params, "deploy");
    else if (params.what !== "queue_slow") this.queue(null);
    switch (type) {
      case "step_started":
        this.station(params.step, "now", null);
        this.began.set(params.step, moment);
        break;
      case "step_succeeded":
        this.station(params.step, "done", this.duration(params.seconds));
        break;
      case "step_failed":
        // What was cancelled has not failed; the server shows it alike.
        if (params.code === "canceled") this.station(params.step, "off", "");
        else this.station(params.step, "failed", this.words.noteFailed);
        break;
      case "warning":
        if (params.code === "dokploy_away") break; // what is going on now, rather than something to know
        this.warn(message);
        return;
      case "cancel_requested":
        this.settle();
        break;
      case "undo_started":
        this.settle();
        this.undoing();
        break;
      case "step_compensated":
        this.runBack(() => this.compensated(params.step));
        break;
      case "step_compensation_failed":
        this.runBack(() => this.station(params.step, "failed", this.words.noteLeft));
        break;
    }
    this.say(message, type);
    this.count();
  }

  /** One station after the other, so that it can be seen, however fast the work was; never before it is done. */
  runBack(show) {
    this.back = this.back.then(async () => {
      show();
      this.count();
      if (!still.matches) await new Promise((done) => setTimeout(done, BACK_MS));
    });
  }

  station(name, state, note) {
    const stop = this.run.querySelector(`[data-station="${CSS.escape(name)}"]`);
    if (!stop) return;
    stop.dataset.s = state;
    stop.toggleAttribute("aria-current", state === "now");
    if (state === "now") stop.setAttribute("aria-current", "step");
    else this.began.delete(name);
    stop.querySelector("[data-state]").textContent = this.words[state];
    if (note !== null) stop.querySelector("[data-note]").textContent = note;
  }

  compensated(name) {
    const stop = this.run.querySelector(`[data-station="${CSS.escape(name)}"]`);
    // Where it failed stays visible; everything else turns back into a plan.
    if (stop?.dataset.s === "failed") this.station(name, "failed", null);
    else this.station(name, "undone", this.words.noteUndone);
  }

  undoing() {
    byId("stops").dataset.undoing = "";
    for (const stop of this.run.querySelectorAll('.stop[data-s="now"]')) this.station(stop.dataset.station, "undone", "");
    for (const stop of this.run.querySelectorAll('.stop[data-s="wait"]')) this.station(stop.dataset.station, "off", "");
    for (const part of this.run.querySelectorAll("[data-when]")) part.hidden = part.dataset.when !== "undoing";
    this.title = this.words.titleUndoing;
    document.querySelector('link[rel="icon"]').href = this.words.iconUndoing;
  }

  settle() {
    const held = document.activeElement?.closest("#sure, #cancel");
    byId("sure")?.close();
    byId("cancel")?.remove();
    if (held) this.run.querySelector("h1").focus(); // else whoever was there would be nowhere
  }

  say(message, type) {
    byId("sentence").textContent = message;
    // A screen reader hears each station once, and not faster than it can speak: the newest sentence wins.
    if (type === "step_succeeded" || type === "deployment_completed") return;
    this.pending = message;
    if (this.timer) return;
    const wait = Math.max(0, this.spoken + SPEAK_MS - Date.now());
    this.timer = setTimeout(() => {
      this.timer = 0;
      this.spoken = Date.now();
      byId("speech").textContent = this.pending;
    }, wait);
  }

  /** The portal's own line: this deployment has not begun. */
  wait({ position, message }) {
    this.queue({ position }, this.run.querySelector(".stop").dataset.station);
    if (message !== byId("sentence").textContent) this.say(message, "waiting");
  }

  queue(place, before) {
    const old = this.run.querySelector("#stops .yard");
    if (old?.dataset.position === String(place?.position)) return;
    old?.remove();
    if (!place) return;
    const yard = copyOf("yard");
    yard.dataset.position = place.position;
    const [more, other] = [yard.querySelector(".more"), yard.querySelector(".other")];
    const between = place.position > 3 ? place.position - 2 : 0;
    more.querySelector("bdi").textContent = `+${between}`;
    if (!between) more.remove();
    for (let at = between ? 1 : place.position - 1; at > 0; at -= 1) {
      const train = other.cloneNode(true);
      train.lastElementChild.textContent = String(at);
      other.before(train);
    }
    other.remove();
    this.run.querySelector(`[data-station="${CSS.escape(before)}"]`)?.before(yard);
  }

  /** One row for each event, the same that the server writes when the page is loaded anew. */
  log({ n, type, params = {}, message = "" }, moment) {
    const box = byId("log");
    const follows = box.scrollHeight - box.scrollTop - box.clientHeight < 24;
    const row = copyOf("log-row");
    const seconds = Math.max(0, Math.floor((moment - this.start) / 1_000));
    row.dataset.n = n;
    row.querySelector("time").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    const step = params.step ?? (type === "log_line" || type === "queue_position" ? "deploy" : "");
    const label = step && this.run.querySelector(`[data-station="${CSS.escape(step)}"] [data-label]`);
    row.querySelector("i").textContent = label ? label.textContent : "";
    const text = row.querySelector("span");
    text.textContent = message;
    if (type === "log_line") Object.assign(text, { lang: "en", dir: "ltr" });
    const rows = box.querySelector("ol");
    rows.append(row);
    while (rows.childElementCount > MAX_ROWS) rows.firstElementChild.remove();
    byId("log-count").textContent = String(Number(byId("log-count").textContent) + 1);
    if (follows) box.scrollTop = box.scrollHeight;
  }

  warn(message) {
    const item = copyOf("warning");
    item.lastElementChild.textContent = message;
    byId("warnings").append(item);
  }

  tick() {
    for (const [step, moment] of this.began) {
      const seconds = Math.max(0, (Date.now() - this.skew - moment) / 1_000);
      if (seconds < 2) continue;
      const note = this.run.querySelector(`[data-station="${CSS.escape(step)}"] [data-note]`);
      if (note) note.textContent = this.duration(Math.floor(seconds));
    }
  }

  count() {
    const stops = [...this.run.querySelectorAll(".stop")];
    const done = stops.filter((stop) => stop.dataset.s === "done").length;
    document.title = `${done}/${stops.length} · ${this.title}`;
  }

  duration(seconds) {
    const minutes = seconds >= 90;
    const amount = minutes ? Math.round(seconds / 60) : seconds < 10 ? Math.max(0.1, Math.round(seconds * 10) / 10) : Math.round(seconds);
    const style = { style: "unit", unit: minutes ? "minute" : "second", unitDisplay: "short", numberingSystem: "latn" };
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
    const source = new EventSource(`${this.address}?after=${this.last}&lang=${this.lang}`);
    this.source = source;
    this.heard = Date.now();
    this.patience = FIRST_MS;
    for (const type of TYPES) {
      source.addEventListener(type, (message) => {
        if (source !== this.source) return;
        this.alive();
        this.patience = SILENCE_MS;
        this.polling = false;
        this.retries = 0;
        this.take(type, message.data);
      });
    }
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
      for (const line of text.split("\n")) if (line.trim()) this.take(null, line);
    } catch {
      if (this.gone) return;
      this.polls += 1;
      this.lost(true);
    } finally {
      clearTimeout(limit);
    }
    this.later(POLL_MS[Math.min(this.polls, POLL_MS.length - 1)], () => this.poll());
  }

  take(type, text) {
    const event = JSON.parse(text);
    const kind = type ?? event.type;
    if (kind === "gap" || (event.n === undefined && event.last !== undefined)) {
      arrive();
      return;
    }
    if (kind === "waiting") this.board.wait(event);
    if (event.n === undefined || event.n <= this.last || this.gone) return;
    this.last = event.n;
    this.board.show({ ...event, type: kind });
    if (kind !== "deployment_completed") return;
    this.close();
    this.board.back.then(() => arrive());
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
