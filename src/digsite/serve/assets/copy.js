// Buttons that copy a command; without a clipboard they stay hidden and the command can be marked by hand.
import "./dom.js";

for (const button of document.querySelectorAll("button[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  const label = button.firstChild.textContent;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.firstChild.textContent = "copied";
    setTimeout(() => { button.firstChild.textContent = label; }, 1500);
  });
}
