/* For all pages with the sidebar: the time zone cookie, the drawer, dialogs, the choice of colours, copy buttons. */

const YEAR = 31536000;
const remember = (name, value) => {
  document.cookie = `${name}=${value}; path=/; max-age=${YEAR}; samesite=lax${location.protocol === "https:" ? "; secure" : ""}`;
};
remember("timezone", Intl.DateTimeFormat().resolvedOptions().timeZone);

// The drawer on phones. While it is open, the page behind it cannot be reached.
const drawer = document.getElementById("sidebar");
const content = document.querySelector(".content");
drawer.addEventListener("toggle", (event) => {
  if (event.target !== drawer) return;
  content.inert = event.newState === "open";
  (content.inert ? drawer : content).querySelector("[popovertarget=sidebar]").focus();
});

for (const choice of document.querySelectorAll('input[name="theme"]')) {
  choice.checked = choice.value === document.documentElement.dataset.theme;
  choice.addEventListener("change", () => {
    document.documentElement.dataset.theme = choice.value;
    remember("theme", choice.value);
  });
}

for (const button of document.querySelectorAll("button[data-copies]")) {
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copies).textContent);
    button.textContent = button.dataset.copied;
  });
}

// Cancel is no submit button, because Enter in a field presses the first of those.
document.addEventListener("click", ({ target }) => {
  const opens = target.closest("[data-opens]");
  if (opens) document.getElementById(opens.dataset.opens).showModal();
  else if (target.closest("[data-closes]")) target.closest("dialog").close();
});
