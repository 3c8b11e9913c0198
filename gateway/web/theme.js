// Lays the chosen theme over the system's before anything is painted.
(() => {
  let theme = null;
  try {
    theme = localStorage.getItem("gotunnel.theme");
  } catch {
    // storage is blocked: the system decides
  }
  if (theme === "light" || theme === "dark") {
    document.documentElement.dataset.theme = theme;
  }
})();
