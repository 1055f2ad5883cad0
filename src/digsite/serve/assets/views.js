// From a declared kind of view to the module that draws it.
import { get, note } from "./dom.js";

const KINDS = new Set(["curve", "matrix", "histogram", "graph", "table", "image", "components"]);

export async function show(host, view) {
  const stage = host.querySelector(".stage");
  if (!KINDS.has(view.kind)) return;
  try {
    const [data, { draw }] = await Promise.all([
      get(`${view.api}/view?name=${encodeURIComponent(view.name)}`),
      import(`./views/${view.kind}.js`),
    ]);
    stage.replaceChildren();
    await draw(stage, data, view);
    if (data.caption && !view.large) stage.append(note(data.caption));
  } catch (error) {
    stage.replaceChildren(note(`This view cannot be drawn: ${error.message}`));
  }
}
