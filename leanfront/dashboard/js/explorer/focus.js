/** Keeping the focus when controls are replaced. */

/** Run a function that replaces controls; then focus the control with the same id. */
export function keepingFocus(work) {
  const held = document.activeElement?.id;
  work();
  if (held && document.activeElement?.id !== held) document.getElementById(held)?.focus();
}
