// Zoom and pan. A picture fills the window, but its text stays readable; what is wider scrolls inside its frame.
const LARGEST = 2, SMALLEST_ZOOM = 0.1, LARGEST_ZOOM = 8, MARGIN = 16, DRAGGED = 4, PAN = 80;  // LARGEST: pixels for a point; the last three: pixels
const zooms = new Map();  // the reader's zoom of a frame, 1 for the automatic size
const sheet = (frame) => frame.firstElementChild;
const shownFrame = () => [...document.querySelectorAll("section.shown figure")].find((f) => f.clientWidth > 0);
function sizes(frame) {
  const svg = frame.querySelector(".sheet > svg"), { width, height } = svg.viewBox.baseVal, inside = frame.clientWidth / width;
  const whole = Math.min(inside, (innerHeight - document.querySelector(".bar").offsetHeight - MARGIN) / height, LARGEST);
  return { width, whole, automatic: Math.max(svg.getAttribute("width") / width, whole) };
}
function resize(frame = shownFrame()) {
  document.querySelector(".zoom").classList.toggle("unused", !frame);
  if (!frame) return;
  const { width, automatic } = sizes(frame), zoom = zooms.get(frame) ?? 1, percent = `${Math.round(100 * zoom)} %`;
  sheet(frame).style.width = `${width * automatic * zoom}px`;
  frame.classList.toggle("loose", sheet(frame).offsetWidth > frame.clientWidth);
  $("automatic").textContent = percent; $("automatic").setAttribute("aria-label", `${percent}: back to the automatic size`);
}
function zoomTo(frame, zoom, x, y) {
  const old = sheet(frame).getBoundingClientRect(), [u, v] = [(x - old.left) / old.width, (y - old.top) / old.height];
  zooms.set(frame, Math.min(Math.max(zoom, SMALLEST_ZOOM), LARGEST_ZOOM));
  resize(frame);
  const now = sheet(frame).getBoundingClientRect();  // the point at x, y stays there
  pan(frame, now.left + u * now.width - x, now.top + v * now.height - y);
}
function pan(frame, x, y) { frame.scrollLeft += x; window.scrollBy({ top: y, behavior: "instant" }); }
function centre(part) {  // unless all of it is in view
  const frame = part && part.closest("figure");
  if (!frame) return;
  const [place, inside] = [part, frame].map((e) => e.getBoundingClientRect());
  if (place.left < inside.left || place.right > inside.right) frame.scrollLeft += (place.left + place.right - inside.left - inside.right) / 2;
}
function zoomBy(factor) {
  const frame = shownFrame();
  if (!frame) return;
  const { left, right, top, bottom } = frame.getBoundingClientRect();
  zoomTo(frame, (zooms.get(frame) ?? 1) * factor, (left + right) / 2, (Math.max(top, 0) + Math.min(bottom, innerHeight)) / 2);
}
function restore(zoom = () => 1) {
  const frame = shownFrame();
  if (frame) { zooms.set(frame, zoom(frame)); resize(frame); }
}
const wholePicture = (frame) => { const { whole, automatic } = sizes(frame); return whole / automatic; };
function movesInFrame(frame) {
  let from = null, dragged = false, apart = 0;
  frame.addEventListener("wheel", (e) => {
    if (!e.ctrlKey && !e.metaKey) return;  // the plain wheel scrolls the page
    e.preventDefault();
    zoomTo(frame, (zooms.get(frame) ?? 1) * Math.exp(-e.deltaY / 300), e.clientX, e.clientY);
  }, { passive: false });
  frame.addEventListener("pointerdown", (e) => { from = e.pointerType === "mouse" && e.button === 0 ? e : null; dragged = false; });
  frame.addEventListener("pointermove", (e) => {
    if (!from || !e.buttons) return;
    if (!dragged && Math.hypot(e.clientX - from.clientX, e.clientY - from.clientY) < DRAGGED) return;
    if (!dragged) frame.setPointerCapture(e.pointerId);
    dragged = true;
    pan(frame, from.clientX - e.clientX, from.clientY - e.clientY);
    from = e;
  });
  frame.addEventListener("pointerup", () => { from = null; });
  frame.addEventListener("click", (e) => { if (dragged) { e.stopPropagation(); dragged = false; } }, true);
  const distance = ([a, b]) => Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
  frame.addEventListener("touchstart", (e) => { apart = e.touches.length === 2 ? distance(e.touches) : 0; }, { passive: true });
  frame.addEventListener("touchmove", (e) => {
    if (!apart || e.touches.length !== 2) return;
    e.preventDefault();
    const [a, b] = e.touches, now = distance(e.touches);
    zoomTo(frame, (zooms.get(frame) ?? 1) * now / apart, (a.clientX + b.clientX) / 2, (a.clientY + b.clientY) / 2);
    apart = now;
  }, { passive: false });
}
function zoomKey(e) {
  const frame = shownFrame(), move = e.shiftKey && frame && { ArrowLeft: [-PAN, 0], ArrowRight: [PAN, 0], ArrowUp: [0, -PAN], ArrowDown: [0, PAN] }[e.key];
  if (move) pan(frame, ...move);
  else if (e.key === "+" || e.key === "=") zoomBy(1.25);
  else if (e.key === "-") zoomBy(0.8);
  else if (e.key === "0") restore();
  else return false;
  e.preventDefault();
  return true;
}
function beginZoom() {
  document.querySelectorAll("figure").forEach(movesInFrame);
  $("larger").addEventListener("click", () => zoomBy(1.25));
  $("smaller").addEventListener("click", () => zoomBy(0.8));
  $("automatic").addEventListener("click", () => restore());
  $("whole").addEventListener("click", () => restore(wholePicture));
  window.addEventListener("resize", () => resize());
}
