/** Keeping the focus where it is while controls are made anew. */

/** Do something that replaces controls; the one of the same id has the focus afterwards. */
export function keepingFocus(work) {
  const held = document.activeElement?.id;
  work();
  if (held && document.activeElement?.id !== held) document.getElementById(held)?.focus();
}
