// The view follows the growing text, unless the reader scrolled up.

const scroller = document.getElementById("main");
const talk = document.getElementById("talk");
const jump = document.getElementById("jump");
const CLOSE = 60; // pixels from the end that count as the end

let follows = true;

export function toEnd() {
  follows = true;
  jump.hidden = true;
  scroller.scrollTop = scroller.scrollHeight;
}

/** Change the content above without moving what the reader sees. */
export function keepPosition(change) {
  const below = scroller.scrollHeight - scroller.scrollTop;
  change();
  scroller.scrollTop = scroller.scrollHeight - below;
}

/** Scroll so that an element is at this height of the window. */
export function toHeight(element, top) {
  scroller.scrollTop += element.getBoundingClientRect().top - top;
}

scroller.addEventListener("scroll", () => {
  follows = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < CLOSE;
  jump.hidden = follows;
}, { passive: true });

const stick = new ResizeObserver(() => {
  if (follows) scroller.scrollTop = scroller.scrollHeight;
  else jump.hidden = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < CLOSE;
});
stick.observe(talk);
stick.observe(scroller);

jump.addEventListener("click", () => {
  toEnd();
  document.getElementById("message").focus({ preventScroll: true });
});

/** Call `load` when the reader scrolls near the button for earlier messages. */
export function loadEarlier(load) {
  const button = document.getElementById("earlier");
  button.addEventListener("click", load);
  new IntersectionObserver(([seen]) => seen.isIntersecting && !button.hidden && load(), {
    root: scroller,
    rootMargin: "600px 0px 0px",
  }).observe(button);
}
