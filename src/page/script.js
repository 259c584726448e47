// Fetches the part of the page that changes, and replaces what is different.
"use strict";

const live = document.getElementById("live");
const notice = document.getElementById("notice");
const EVERY = 2000;
const LONGEST = 8000;

const isSelected = (part) => {
  const selection = document.getSelection();
  return selection !== null && !selection.isCollapsed && selection.containsNode(part, true);
};

// Only what changed is replaced, and not what is selected: so a reader can copy it.
const replace = (there, fresh) => {
  if (there.innerHTML === fresh.innerHTML || isSelected(there)) return;
  const focused = there.contains(document.activeElement) ? document.activeElement.className : "";
  const scrolled = there.querySelector(".scroll")?.scrollLeft ?? 0;
  there.innerHTML = fresh.innerHTML;
  const region = there.querySelector(".scroll");
  if (region !== null) {
    region.scrollLeft = scrolled;
    if (focused === "scroll") region.focus({ preventScroll: true });
  }
};

const show = (text) => {
  const fresh = new DOMParser().parseFromString(text, "text/html");
  for (const part of fresh.querySelectorAll("section")) {
    const there = document.getElementById(part.id);
    if (there !== null) replace(there, part);
  }
};

let shown = new Date();
const look = async () => {
  try {
    const answer = await fetch(live.dataset.source, { cache: "no-store", signal: AbortSignal.timeout(LONGEST) });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    show(await answer.text());
    shown = new Date();
    notice.hidden = true;
  } catch (error) {
    const since = shown.toISOString().slice(11, 19);
    notice.textContent = `The gateway does not answer (${error.message}). What you see is of ${since} UTC.`;
    notice.hidden = false;
  }
};

// Nothing is fetched for a page that is not visible.
const repeat = async () => {
  if (!document.hidden) await look();
  setTimeout(repeat, EVERY);
};
document.addEventListener("visibilitychange", () => document.hidden || look());
setTimeout(repeat, EVERY);
