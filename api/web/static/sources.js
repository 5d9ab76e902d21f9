// Sends chosen or dropped files one after the other and says how far each is; the page hears of each that was taken in.
(() => {
  const waiting = [];
  let busy = false;

  const panel = () => document.getElementById("upload");
  const say = (row, words, kind) => {
    row.querySelector(".upload-said").textContent = words;
    row.dataset.state = kind;
    if (kind !== "sending") row.querySelector("progress").hidden = true;
  };

  const addRow = (file) => {
    const row = document.createElement("li");
    row.innerHTML = '<b></b><span class="upload-said soft small"></span><progress max="1" value="0"></progress>';
    row.querySelector("b").textContent = file.name;
    row.querySelector("progress").setAttribute("aria-label", `Sending ${file.name}`);
    document.getElementById("uploads").append(row);
    return row;
  };

  const readAbout = () => {
    const about = {};
    for (const field of panel().querySelectorAll("[data-field]")) {
      const value = field.value.trim();
      if (value) about[field.dataset.field] = value;
    }
    if (about.held_at) about.held_at = new Date(`${about.held_at}T12:00`).toISOString();
    return about;
  };

  const explain = (request) => {
    try {
      const problem = JSON.parse(request.responseText);
      if (problem.detail) return problem.detail;
    } catch { /* no problem of ours */ }
    return "The service did not take this file; try again shortly.";
  };

  const send = ({ file, about, row, key }) => new Promise((done) => {
    const request = new XMLHttpRequest();
    const form = new FormData();
    for (const [name, value] of Object.entries(about)) form.append(name, value);
    form.append("file", file);
    request.upload.onprogress = (event) => {
      if (!event.lengthComputable) return;
      row.querySelector("progress").value = event.loaded / event.total;
      if (event.loaded === event.total) row.querySelector(".upload-said").textContent = "Storing it…";
    };
    request.onload = () => {
      if (request.status === 202) {
        const { visibility, client_id: client } = JSON.parse(request.responseText);
        const hidden = panel()?.dataset.role === "admin" && (visibility === "coach_only" || client);
        say(row, hidden ? "Taken in; it is in the lists of those who may read it, not in yours."
          : "Taken in; the list shows how far it is.", "taken");
        panel()?.dispatchEvent(new CustomEvent("uploaded"));
      } else if (request.status === 401) {
        location.assign(`/sign-in?next=${encodeURIComponent(location.pathname)}&ended=true`);
      } else say(row, explain(request), "refused");
      done();
    };
    request.onerror = () => { say(row, "The connection broke before the file was taken in; choose it again.", "refused"); done(); };
    request.open("POST", panel().dataset.path);
    request.setRequestHeader("X-Regenesis-Page", "sources");
    request.setRequestHeader("Idempotency-Key", key);
    say(row, "Sending…", "sending");
    // the toolkit's own bar shows with every request and has no name; ours says more
    document.querySelector(".q-loading-bar")?.setAttribute("aria-hidden", "true");
    request.send(form);
  });

  const work = async () => {
    if (busy) return;
    busy = true;
    while (waiting.length) await send(waiting.shift());
    busy = false;
  };

  const take = (files) => {
    const most = Number(panel().dataset.most);
    for (const file of files) {
      const row = addRow(file);
      if (file.size > most) {
        say(row, `${file.name} is larger than ${most.toLocaleString("en")} bytes; split it and add its parts.`, "refused");
      } else if (file.size === 0) {
        say(row, `${file.name} is empty; export it again and choose that.`, "refused");
      } else {
        say(row, "Waits its turn.", "sending");
        const key = [...crypto.getRandomValues(new Uint8Array(16))].map((one) => one.toString(16).padStart(2, "0")).join("");
        waiting.push({ file, about: readAbout(), row, key });
      }
    }
    work();
  };

  addEventListener("change", (event) => {
    if (event.target.id !== "upload-files") return;
    take([...event.target.files]);
    event.target.value = "";
  });
  const onDrop = (event) => event.target.closest?.(".drop");
  for (const name of ["dragenter", "dragover"]) addEventListener(name, (event) => {
    const zone = onDrop(event);
    if (!zone) return;
    event.preventDefault();
    zone.classList.add("over");
  });
  addEventListener("dragleave", (event) => onDrop(event)?.classList.remove("over"));
  addEventListener("drop", (event) => {
    const zone = onDrop(event);
    if (!zone) return;
    event.preventDefault();
    zone.classList.remove("over");
    take([...event.dataTransfer.files]);
  });
  addEventListener("beforeunload", (event) => { if (busy) event.preventDefault(); });
})();
