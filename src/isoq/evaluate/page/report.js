"use strict";
for (const viewer of document.querySelectorAll(".viewer")) {
  const slider = viewer.querySelector("input[type=range]");
  const swipe = viewer.querySelector(".swipe");
  const over = viewer.querySelector(".over");
  const places = { left: over, right: viewer.querySelector(".under"), beside: viewer.querySelector(".beside") };

  const show = (select) => {
    const image = [...viewer.querySelectorAll(".store img")].find((i) => i.dataset.layer === select.value);
    places[select.dataset.side].replaceChildren(image.cloneNode());
  };
  const move = () => {
    over.style.clipPath = `inset(0 ${100 - slider.value}% 0 0)`;
    viewer.querySelector(".line").style.left = `${slider.value}%`;
  };
  const follow = (event) => {
    const box = swipe.getBoundingClientRect();
    slider.value = (100 * (event.clientX - box.left)) / box.width;
    move();
  };

  for (const select of viewer.querySelectorAll("select")) {
    select.addEventListener("change", () => show(select));
    show(select);
  }
  slider.addEventListener("input", move);
  swipe.addEventListener("pointerdown", (event) => { swipe.setPointerCapture(event.pointerId); follow(event); });
  swipe.addEventListener("pointermove", (event) => { if (event.buttons) follow(event); });
  move();
}
