/* Keys on all pages with the sidebar. The dialog "keys" lists them. */

const composer = document.getElementById("message");
const dialog = document.getElementById("keys");
const FIELDS = "input, textarea, select, [contenteditable]";

const isShown = (element) => Boolean(element && !element.hidden && !element.closest("[hidden]"));
const isOver = () => Boolean(document.querySelector("dialog[open], [popover]:popover-open:not(#sidebar)"));

function search() {
  const sidebar = document.getElementById("sidebar");
  if (getComputedStyle(sidebar).display === "none") sidebar.showPopover();
  sidebar.querySelector("input[type=search]").focus();
}

/** The last question that can be edited now. */
function lastQuestion() {
  const found = [...document.querySelectorAll('.message.user [data-verb="edit"]')].at(-1);
  return composer?.value === "" && found?.checkVisibility() ? found : null;
}

document.addEventListener("keydown", (event) => {
  const { key, target } = event;
  const command = event.ctrlKey || event.metaKey;
  if (event.defaultPrevented || event.isComposing || event.altKey || isOver()) return;
  const isInField = target.matches(FIELDS);
  let deed = null;
  if (command && !event.shiftKey && key.toLowerCase() === "k") deed = search;
  else if (command && event.shiftKey && key.toLowerCase() === "o") deed = () => document.querySelector("[data-new]").click();
  else if (command) return;
  else if (key === "Escape" && isShown(document.getElementById("stop"))) deed = () => document.getElementById("stop").click();
  else if (key === "ArrowUp" && (target === composer || !isInField) && lastQuestion()) deed = () => lastQuestion().click();
  else if (key === "?" && !isInField) deed = () => dialog.showModal();
  if (deed) {
    event.preventDefault();
    deed();
  } else if (key.length === 1 && key !== " " && !isInField && isShown(composer)) composer.focus(); // which then gets the key
});
