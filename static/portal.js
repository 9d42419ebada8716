// What every page shares: copying, showing a password, the theme and the menu, asking before a loss, sending a form once.

// A chosen language is kept in a cookie. An address that is passed on must not press it on a friend, nor say again what
// was done.
const here = new URL(location.href);
if (here.searchParams.has("lang") || here.searchParams.has("done")) {
  here.searchParams.delete("lang");
  here.searchParams.delete("done");
  history.replaceState(history.state, "", here);
}

async function copy(text) {
  if (navigator.clipboard && window.isSecureContext) {
    await navigator.clipboard.writeText(text);
    return;
  }
  // Over plain http browsers offer only the old way.
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "vh";
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  if (!copied) throw new Error("not allowed");
}

/** What a button copies: a text of its own, a field's, or what the server answers. */
async function textOf({ dataset }) {
  if (dataset.copy) return dataset.copy;
  if (dataset.copyFrom) return document.getElementById(dataset.copyFrom).value;
  const response = await fetch(dataset.copyFetched, { cache: "no-store" });
  if (!response.ok) throw new Error(String(response.status));
  return response.text();
}

async function onCopy(button) {
  const said = button.closest(".sign, section").querySelector(".said");
  said.textContent = "";
  try {
    await copy(await textOf(button));
    said.textContent = button.dataset.copied;
  } catch {
    said.textContent = button.dataset.failed;
  }
  button.focus();
}

function onReveal(button) {
  const field = document.getElementById(button.dataset.reveal);
  const shown = field.type === "password";
  field.type = shown ? "text" : "password";
  button.setAttribute("aria-pressed", String(shown));
}

document.addEventListener("click", (event) => {
  const target = event.target.closest?.("[data-copy], [data-copy-from], [data-copy-fetched], [data-reveal], [data-back]");
  if (!target) return;
  if (target.matches("[data-reveal]")) onReveal(target);
  else if (!target.matches("[data-back]")) onCopy(target);
  else if (document.referrer.startsWith(`${location.origin}/`) && new URL(document.referrer).pathname !== location.pathname) {
    event.preventDefault();
    history.back();
  }
});

/** The theme changes at once; the server remembers it, and does all of this where there is no script. */
function onTheme(form, chosen) {
  document.documentElement.dataset.theme = chosen.value;
  form.querySelector(`button:not([value="${chosen.value}"])`).focus();
  const sheet = getComputedStyle(document.documentElement).getPropertyValue("--sheet").trim();
  for (const frame of document.querySelectorAll("meta[name=theme-color]")) frame.content = sheet;
  const body = new URLSearchParams({ [chosen.name]: chosen.value });
  fetch(form.action, { method: "POST", body, redirect: "manual" }).catch(() => {}); // then it lasts for this page
}

const menu = document.querySelector(".menu");
document.addEventListener("click", (event) => menu.contains(event.target) || menu.removeAttribute("open"));
menu.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !menu.open) return;
  menu.removeAttribute("open");
  menu.querySelector("summary").focus();
});
menu.addEventListener("focusout", (event) => {
  if (event.relatedTarget && !menu.contains(event.relatedTarget)) menu.removeAttribute("open");
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.matches("#theme")) {
    event.preventDefault();
    onTheme(form, event.submitter);
    return;
  }
  const dialog = document.getElementById(form.dataset.confirm);
  if (dialog?.showModal) {
    event.preventDefault();
    dialog.showModal();
    return;
  }
  if (!("once" in form.dataset) || event.defaultPrevented) return;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "yes";
  event.submitter?.setAttribute("aria-disabled", "true");
});

// Coming back by the browser's history: the form may be sent anew.
window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
    for (const button of form.querySelectorAll("button[aria-disabled]")) button.removeAttribute("aria-disabled");
  }
});
