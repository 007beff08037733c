// The view follows the text, unless the reader scrolled up.

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

/** Change what stands above without moving what is read. */
export function keepingPlace(change) {
  const below = scroller.scrollHeight - scroller.scrollTop;
  change();
  scroller.scrollTop = scroller.scrollHeight - below;
}

/** Bring an element to this height of the window, where another one stood. */
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

/** Load what is earlier as it comes near. */
export function loadEarlier(load) {
  const button = document.getElementById("earlier");
  button.addEventListener("click", load);
  new IntersectionObserver(([seen]) => seen.isIntersecting && !button.hidden && load(), {
    root: scroller,
    rootMargin: "600px 0px 0px",
  }).observe(button);
}
