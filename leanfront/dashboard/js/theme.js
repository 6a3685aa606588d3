// Runs before the page is drawn, so that a chosen theme does not flash; see shell.js for the switch.
(() => {
  try {
    const theme = localStorage.getItem("leanfront-theme");
    if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
  } catch {
    // Storage may be forbidden: use the system's theme.
  }
})();
