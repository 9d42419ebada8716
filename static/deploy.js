// Checks the name while it is typed. The server decides again when the form is sent.

const PAUSE_MS = 350;

const byId = (id) => document.getElementById(id);
const form = byId("ask");
const field = byId("name");
const plate = byId("plate");
const answer = byId("answer");
const say = byId("say");
const fork = byId("fork");
const button = byId("deploy");
const words = byId("route-section").dataset;
const plan = byId("plan");
const first = document.querySelector("#stops .stop");

let timer = 0;
let request = null;
let asked = null; // the name that was last asked about, or whose answer stands on the page
let known = ""; // "", "look", "ready" or "off"

function show(state) {
  known = state;
  for (const element of [plate, answer]) {
    if (state) element.dataset.s = state;
    else delete element.dataset.s;
  }
  field.toggleAttribute("aria-invalid", false);
  if (state === "off") {
    field.setAttribute("aria-invalid", "true");
    button.setAttribute("aria-disabled", "true");
  } else {
    field.removeAttribute("aria-invalid");
    button.removeAttribute("aria-disabled");
  }
  first.dataset.s = state || "wait";
  first.querySelector("[data-state]").textContent = words[state || "wait"];
  answer.classList.toggle("branch", state === "off" && fork.childElementCount > 0);
}

function copyOf(id, slots = {}) {
  const content = byId(id).content.cloneNode(true);
  for (const [name, text] of Object.entries(slots)) content.querySelector(`[data-slot="${name}"]`).textContent = text;
  return content;
}

function clear() {
  say.parentElement.classList.remove("keep");
  say.replaceChildren();
  fork.replaceChildren();
}

async function ask(name) {
  request?.abort();
  request = new AbortController();
  const mine = request;
  show("look");
  try {
    const url = `${form.dataset.check}${encodeURIComponent(name)}?lang=${form.dataset.lang}`;
    const response = await fetch(url, { signal: AbortSignal.any?.([mine.signal, AbortSignal.timeout(8000)]) ?? mine.signal, headers: { accept: "application/json" } });
    if (!response.ok) throw new Error(String(response.status));
    const verdict = await response.json();
    if (mine !== request) return;
    clear();
    if (verdict.valid && verdict.available) {
      say.append(copyOf("free", { address: verdict.normalized + form.dataset.suffix }));
      if (verdict.filesKept) say.append(" ", copyOf("files"));
      show("ready");
      return;
    }
    say.textContent = verdict.message;
    for (const suggestion of verdict.suggestions ?? []) {
      const item = copyOf("suggestion", { name: suggestion });
      item.querySelector("button").value = suggestion;
      fork.append(item);
    }
    show("off");
  } catch {
    if (mine !== request) return; // a newer name is being asked about
    asked = null;
    clear();
    say.append(copyOf("unknown"));
    show("");
  }
}

/** The plan, as the page itself would show it. */
async function preview(address) {
  const name = field.value;
  const response = await fetch(address, { headers: { accept: "text/html" }, cache: "no-store" });
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  if (field.value !== name) return; // whoever types on is left in peace
  const found = page.getElementById("plan");
  // Another language may have been chosen in another tab.
  const fits = page.documentElement.lang === document.documentElement.lang;
  if (!found || found.hidden || !fits) throw new Error(String(response.status));
  plan.replaceChildren(...found.childNodes);
  plan.hidden = false;
  plan.focus({ preventScroll: true });
  plan.scrollIntoView({ block: "nearest" });
}

function typed({ now = false } = {}) {
  field.size = Math.max(4, field.value.length); // for browsers without field-sizing
  const name = field.value.trim();
  if (name === asked) return;
  clearTimeout(timer);
  request?.abort();
  request = null;
  asked = name;
  clear();
  show("");
  if (name) timer = setTimeout(ask, now ? 0 : PAUSE_MS, name);
}

field.addEventListener("input", () => {
  plan.hidden = true; // it was another name's
  typed();
});
field.addEventListener("change", () => typed({ now: true })); // some ways of autofill tell nothing else
plate.addEventListener("click", () => field.focus());
fork.addEventListener("click", (event) => {
  const chosen = event.target.closest("button");
  if (!chosen) return;
  event.preventDefault();
  field.value = chosen.value;
  plan.hidden = true;
  field.focus();
  typed({ now: true });
});
// Runs before the shared script marks the form as sent: listeners of the form come before those of the document.
form.addEventListener("submit", (event) => {
  if (event.submitter?.id === "preview") {
    const address = `/?${new URLSearchParams(new FormData(form, event.submitter))}`;
    event.preventDefault();
    // Where that fails, the page is loaded as it would be without a script.
    preview(address).catch(() => location.assign(address));
    return;
  }
  if (known !== "off" && field.value.trim()) return;
  event.preventDefault();
  field.focus();
  if (!field.value.trim()) {
    ask(""); // to be told that there is none
    return;
  }
  asked = null; // it may be free by now
  typed({ now: true });
});
window.addEventListener("pageshow", () => {
  // What the server has said stays until something else is typed.
  if (field.value !== field.defaultValue || !say.textContent.trim()) typed({ now: true });
});

if (answer.dataset.s === "off") {
  // The server has said why; keep its words until something else is typed.
  asked = field.value.trim();
  show("off");
}
