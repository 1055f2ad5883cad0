// Prompts of a language model: how far each answer moves, and what it becomes, without a component, or without several.
import { el, number, spelled } from "./dom.js";

export class Prompts {
  constructor(data) {
    this.stage = el("div", { class: "prompts" });
    this.said = el("p", { class: "readout", role: "status" });
    this.node = el("div", {}, this.stage, this.said);
    this.show(data);
  }

  show(data) {
    this.stage.replaceChildren(...data.prompts.map((words, p) => this.prompt(words, data, p)));
    const all = data.answers.flat(), changed = data.first.flat().filter((word, i) => word !== all[i]).length, kl = data.kl.flat();
    const tried = `every pair of components ${data.together.join(", ")}, and the first three, four, … of them together`;
    this.said.textContent = !data.known
      ? `Components ${data.off.join(", ")} together were not tried by the run. It tried each alone, ${tried}.`
      : data.off.length
      ? `${data.off.length > 1 ? "Components" : "Component"} ${data.off.join(", ")} off: ${changed} of ${all.length} answers change; mean divergence ${number(kl.reduce((a, b) => a + b, 0) / Math.max(kl.length, 1), 3)} nats.`
      : "All components on. Pick a component to see what the model answers without it; point at a word for its answer.";
  }

  // One answer after every word, or one after the whole prompt.
  prompt(words, data, p) {
    const answers = data.answers[p], each = answers.length === words.length;
    const tokens = words.map((word, j) => (each ? token(word, data, p, j) : el("span", { class: "token" }, spelled(word))));
    return el("p", { class: "prompt" }, ...tokens, ...(each ? [] : answers.map((_, j) => token("=", data, p, j))));
  }
}

function token(word, data, p, j) {
  const before = data.answers[p][j], after = data.first[p][j], kl = data.kl[p][j], moved = before !== after;
  const node = el("span", { class: moved ? "token moved" : "token", tabindex: data.off.length ? 0 : null, title: `answer ${before}${moved ? `, without it ${after}` : ""}; ${number(kl, 3)} nats` },
    spelled(word), moved ? el("small", {}, `${spelled(before)} → ${spelled(after)}`) : null);
  node.style.setProperty("--moved", `${Math.round(70 * Math.sqrt(kl / (data.most || 1)))}%`);
  return node;
}
