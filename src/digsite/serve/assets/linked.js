// Pictures that zoom and move together, so that the same place is compared with the same place.
export function linked(row) {
  const frames = [...row.querySelectorAll(".zoomable")];
  let scale = 1, x = 0, y = 0, drag; // x and y in parts of the picture's width and height

  function apply() {
    scale = Math.min(Math.max(scale, 1), 24);
    x = Math.min(Math.max(x, 0), 1 - 1 / scale);
    y = Math.min(Math.max(y, 0), 1 - 1 / scale);
    for (const frame of frames) frame.firstElementChild.style.transform = `scale(${scale}) translate(${-x * 100}%, ${-y * 100}%)`;
  }

  function zoom(factor, u = 0.5, v = 0.5) {
    const next = Math.min(Math.max(scale * factor, 1), 24);
    x += u / scale - u / next;
    y += v / scale - v / next;
    scale = next;
    apply();
  }

  for (const frame of frames) {
    frame.addEventListener("wheel", (event) => {
      event.preventDefault();
      const box = frame.getBoundingClientRect();
      zoom(Math.exp(-event.deltaY * 0.002), (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    }, { passive: false });
    frame.addEventListener("pointerdown", (event) => { frame.setPointerCapture(event.pointerId); drag = [event.clientX, event.clientY]; });
    frame.addEventListener("pointerup", () => { drag = undefined; });
    frame.addEventListener("pointermove", (event) => {
      if (!drag) return;
      const box = frame.getBoundingClientRect();
      x -= (event.clientX - drag[0]) / box.width / scale;
      y -= (event.clientY - drag[1]) / box.height / scale;
      drag = [event.clientX, event.clientY];
      apply();
    });
    frame.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (move && scale > 1) { x += (0.15 * move[0]) / scale; y += (0.15 * move[1]) / scale; apply(); }
      else if (event.key === "+" || event.key === "=") zoom(1.5);
      else if (event.key === "-") zoom(1 / 1.5);
      else if (event.key === "0") { scale = 1; apply(); }
      else return;
      event.preventDefault();
    });
  }
}
