// Small pictures, pixel by pixel.
import { el, note } from "../dom.js";

export function draw(stage, data, view) {
  if (data.file) return stage.append(el("figure", {}, el("img", { src: `${view.base}/files/${data.file.split("/").map(encodeURIComponent).join("/")}`, alt: view.name })));
  const pictures = data.pictures.map((picture, i) => {
    const canvas = el("canvas", { width: picture.width, height: picture.height, role: "img", "aria-label": `picture ${data.start + i}` });
    const context = canvas.getContext("2d"), image = context.createImageData(picture.width, picture.height);
    for (let p = 0; p < picture.width * picture.height; p++) {
      for (let c = 0; c < 3; c++) image.data[4 * p + c] = picture.channels[c % picture.channels.length][p];
      image.data[4 * p + 3] = 255;
    }
    context.putImageData(image, 0, 0);
    return el("figure", {}, canvas, el("figcaption", {}, String(data.labels?.[data.start + i] ?? data.start + i)));
  });
  stage.append(el("div", { class: "pictures" }, ...pictures));
  if (data.total > pictures.length) stage.append(note(`The first ${pictures.length} of ${data.total}.`));
}
