// A file dropped anywhere on the page is put into its form and sent: the same way that it takes without scripts.
import "./dom.js";

const form = document.querySelector("form.drop"), input = form.querySelector("input[type=file]"), told = form.querySelector("[role=status]");

function send() {
  const [file] = input.files;
  if (!file) return false;
  if (file.size > Number(form.dataset.most)) {
    told.textContent = `${file.name} has ${Math.round(file.size / 2 ** 20)} MB, more than this page takes.`;
    return false;
  }
  told.textContent = `Reading ${file.name} …`;
  return true;
}

form.addEventListener("submit", (event) => { if (!send()) event.preventDefault(); });
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    form.classList.toggle("over", kind === "dragover");
    if (kind !== "drop") return;
    if (event.dataTransfer.files.length !== 1) { told.textContent = "Drop one file at a time."; return; }
    input.files = event.dataTransfer.files;
    form.requestSubmit();
  });
}
addEventListener("pageshow", () => { told.textContent = ""; });
