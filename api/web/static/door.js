// Before the first paint: the reader's zone for times, and the theme they chose or their system has.
const keep = (name, value) => { document.cookie = `${name}=${encodeURIComponent(value)}; path=/; max-age=31536000; samesite=lax`; };
keep("regenesis_zone", Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC");
addEventListener("DOMContentLoaded", () => {
  const chosen = /regenesis_theme=(dark|light)/.exec(document.cookie)?.[1];
  const dark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.body.classList.replace("body--light", dark ? "body--dark" : "body--light");
});
