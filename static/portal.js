// What every page shares: copying, showing a password, asking before a loss, and sending a form only once.

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
  else if (document.referrer.startsWith(`${location.origin}/`) && history.length > 1) {
    event.preventDefault();
    history.back();
  }
});

document.addEventListener("submit", (event) => {
  const form = event.target;
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
